// The table of subjects: what a user can name behind --subject. Help texts, errors and the command
// `assay subjects` are made of it.
#pragma once

#include <memory>
#include <span>
#include <stdexcept>
#include <string>

#include "golden/contract/config.h"
#include "golden/contract/precision.h"
#include "golden/contract/weights.h"
#include "verify/subjects/program.h"
#include "verify/subjects/subject.h"

namespace CLI {
class App;
}
namespace assay::verify {
struct ExecOptions;
}

namespace assay::cli {

// A device was asked for and there is none. Exit code 77.
struct NoDevice : std::runtime_error {
  using std::runtime_error::runtime_error;
};

// Of a subject that was made elsewhere.
struct SubjectOptions {
  std::string schedule, angles;  // "": as it declares
  verify::ProgramLimits limits;
  std::string map;                   // of names: a file, or a name of 'assay map list'
  int64_t batch = 0, positions = 0;  // of the golden file that a dump belongs to
  verify::Batch first_batch = {};    // that it will be asked for first, as far as that is known
};

// What a subject is made from.
struct SubjectRequest : SubjectOptions {
  std::string name;      // as typed: "file:dump.h5"
  std::string argument;  // behind the first ':' of it: "dump.h5"
  golden::Precision precision = golden::Precision::fp32;
  const golden::ModelConfig& config;
  const golden::WeightSource& weights;
};

struct SubjectRow {
  const char* spelling;  // "simt", "file:PATH"; what stands before the ':' names it
  const char* what;      // it is
  const char* suffixes;  // that may follow the spelling, "" if none
  verify::Capabilities can;
  std::unique_ptr<verify::Subject> (*make)(const SubjectRequest& request);
};

std::span<const SubjectRow> subjects();

std::string subject_spellings();  // "simt, cuda, reference, file:PATH or auto"

// Whether the text is spelled like a subject of the table, right or not: "simt:fast", "file:".
bool is_spelled_as_subject(const std::string& text);

// A dump, a program or a library: it does not know by itself what its arithmetic is.
bool is_made_elsewhere(const std::string& subject);

// The file that a subject is read from: "dump.h5" of "file:dump.h5"; "" if there is none.
std::string file_behind(const std::string& subject);

// Makes a subject of the table. `config` and `weights` must outlive it. Throws InputError for a
// name that is not in the table and for a schedule or angles asked of a subject that knows its own,
// NoDevice for a device that is not there.
std::unique_ptr<verify::Subject> make_subject(const std::string& name, golden::Precision precision,
                                              const golden::ModelConfig& config,
                                              const golden::WeightSource& weights,
                                              const SubjectOptions& options = {});

// Throws InputError for a name that make_subject has no row for and for options that it has no use
// for, whatever the model.
void require_subject(const std::string& name, const SubjectOptions& options = {});

// "dump.h5" of "file:dump.h5"; "" if nothing stands behind a ':'.
std::string argument_of(const std::string& name);

// How a program of that request is started and judged.
verify::ExecOptions exec_options(const SubjectRequest& request,
                                 verify::Program::Mode mode = verify::Program::Mode::lines);

// --subject, whose help names every subject and what it cannot do.
void add_subject_option(CLI::App& command, std::string& subject);

// --precision, the storage type of the subject.
void add_precision_option(CLI::App& command, std::string& precision);

// --schedule, --angles, --map and --timeout.
void add_elsewhere_options(CLI::App& command, SubjectOptions& options);

}  // namespace assay::cli
