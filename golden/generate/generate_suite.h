// The golden files of a suite: cases in parallel within a memory budget, each its own file
// "<folder>/<case>.h5" that appears whole or not at all. What is up to date is left alone, so a run
// that was killed goes on where it stopped.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "golden/suites/suite.h"

namespace assay::golden {

enum class CaseState { written, up_to_date, failed };

struct CaseOutcome {
  std::string name;
  CaseState state = CaseState::failed;
  std::string path;
  std::string root_hash;  // "" if it failed
  std::string problem;    // why it failed, or why a file that was there is made again
  uint64_t bytes = 0;     // of the file
  double seconds = 0;
};

struct GenerateSuiteRequest {
  std::string folder;  // made if it is missing
  int jobs = 0;        // cases at once at most; 0: as many as there are cores
  uint64_t memory_bytes =
      0;               // of all cases at once, by estimated_live_bytes; 0: available_memory()
  bool force = false;  // make files again that are up to date
  // Called when a case ends, from one thread at a time; work counts estimated elements.
  std::function<void(const CaseOutcome&, uint64_t work_done, uint64_t work_total)> ended;
};

// In the order of the suite. A case that fails does not stop the others. Throws InputError when
// the folder cannot be made.
std::vector<CaseOutcome> generate_suite(const Suite& suite, const GenerateSuiteRequest& request);

// Writes the golden file of one case.
CaseOutcome generate_case(const SuiteCase& suite_case, const std::string& path, bool force);

// "" if the file at `path` is this case's and whole, by its own manifest and provenance; else why
// not ("no file", "made for another config", the damage).
std::string why_stale(const SuiteCase& suite_case, const std::string& path);

std::string case_path(const std::string& folder, const SuiteCase& suite_case);

// Three quarters of the memory that the system and the process's control group leave.
uint64_t available_memory();

}  // namespace assay::golden
