// What an ExecSubject asks its program, and how it takes the answers.
#include <fmt/format.h>

#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <set>

#include "golden/contract/error.h"
#include "golden/contract/names.h"
#include "golden/file/files.h"
#include "golden/file/raw_file.h"
#include "verify/subjects/exec_answer.h"
#include "verify/subjects/exec_request.h"
#include "verify/subjects/exec_subject.h"
#include "verify/subjects/refusal.h"
#include "verify/subjects/rows.h"
#include "verify/subjects/usage.h"

namespace assay::verify {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;
using Mode = Program::Mode;

constexpr uint64_t kMostResponse = uint64_t{1} << 20;

// A file of the folder, by its bare name or its path; "" for another.
std::string name_in(const std::string& folder, const std::string& file) {
  const std::string name = file.starts_with(folder + "/") ? file.substr(folder.size() + 1) : file;
  const bool bare = !name.empty() && name.find('/') == std::string::npos && name != "." &&
                    name != ".." && name.find('\0') == std::string::npos;
  return bare ? name : "";
}

bool is_plain_file(const std::string& path) {
  std::error_code failed;
  return fs::is_regular_file(fs::symlink_status(path, failed));
}

bool same_batch(const Batch& a, const Batch& b) {
  return a.batch == b.batch && a.positions == b.positions && a.tokens == b.tokens &&
         a.attention_mask == b.attention_mask && a.labels == b.labels;
}

}  // namespace

std::map<std::string, std::string> ExecSubject::axes(const Batch& batch) const {
  std::map<std::string, std::string> axes;
  for (const golden::TensorInfo& info :
       golden::tensor_list(*config_, batch.batch, batch.positions)) {
    axes[info.name] = info.axes;
  }
  return axes;
}

void ExecSubject::require_folder() {
  std::error_code failed;
  if (!fs::is_directory(fs::symlink_status(folder_, failed))) {
    program_->fail("it removed its private folder");
  }
}

// The inputs of a run, and what is forced, as files; their message.
json ExecSubject::write_request(const Batch& batch, const Forced& forced, Asked asked) {
  const golden::ShortLived temporary;
  std::error_code failed;
  require_folder();
  json message{{"type", asked == Asked::decode ? "decode" : "run"}, {"id", requests_}};
  message["inputs"] = fmt::format("request-{}.npz", requests_);
  write_inputs(folder_ + "/" + message["inputs"].get<std::string>(), batch);
  if (forced) {
    message["forced"] = fmt::format("forced-{}.safetensors", requests_);
    write_forced(folder_ + "/" + message["forced"].get<std::string>(),
                 golden::tensor_list(*config_, batch.batch, batch.positions), forced);
  }
  if (asked == Asked::gradients) message["gradients"] = true;
  if (!wanted_.empty() && map_ == nullptr) message["wanted"] = wanted_;
  uint64_t own = model_bytes_;
  for (const char* key : {"inputs", "forced"}) {
    if (!message.contains(key)) continue;
    const uint64_t bytes = fs::file_size(folder_ + "/" + message[key].get<std::string>(), failed);
    if (!failed) own += bytes;
  }
  program_->own_bytes(own);
  return message;
}

std::string ExecSubject::answer_to(const json& message) {
  if (options_.mode == Mode::once) return run_once(message);
  program_->send(message.dump());
  return program_->receive();
}

std::string ExecSubject::run_once(const json& message) {
  json whole = hello();
  whole.update(message);
  std::ofstream request(program_->request_file());
  request << whole.dump() << std::endl;
  if (!request) throw InputError(program_->request_file() + ": cannot be written");
  remove_folder(program_->response_file().c_str());
  program_->run_once();
  const std::string path = program_->response_file();
  if (!is_plain_file(path)) program_->fail("it wrote no file " + path);
  try {
    return golden::read_text(path, "an answer", kMostResponse);
  } catch (const InputError& error) {
    program_->fail(std::string("its answer cannot be read: ") + error.what());
  }
}

// Answers to the last request, and no error.
void ExecSubject::require_answer(const json& answer) {
  if (const std::string problem = error_in(answer); !problem.empty()) {
    if (config_ != nullptr) program_->fail("it failed: " + problem);
    throw SubjectRefusal(
        fmt::format("{}: it failed: {}", golden::printable(description_.name), problem));
  }
  const auto id = answer.find("id");
  const bool due = options_.mode == Mode::lines || id != answer.end();  // else it answers this one
  if (due && (id == answer.end() || *id != json(requests_))) {
    program_->fail(fmt::format("it answered another request: expected id {}, got {}", requests_,
                               golden::printable(id == answer.end() ? "none" : id->dump())));
  }
}

// The path of the file that a run's answer names.
std::string ExecSubject::file_named(const json& answer) {
  require_answer(answer);
  const auto file = answer.find("file");
  const bool text = file != answer.end() && file->is_string();
  const std::string said =
      text ? file->get<std::string>() : std::string(file == answer.end() ? "" : file->dump());
  const std::string name = text ? name_in(folder_, said) : "";
  if (name.empty() || !is_plain_file(folder_ + "/" + name)) {
    program_->fail(fmt::format("expected in 'file' the name of a file in {}, got '{}'", folder_,
                               golden::printable(said)));
  }
  return folder_ + "/" + name;
}

// What stands in the file may be read for as long as it is needed: a program that writes the next
// answer under the same name changes nothing.
std::shared_ptr<ExecAnswer> ExecSubject::taken(const std::string& file) {
  const std::string kept = fmt::format("{}/answer-{}{}", program_->kept_folder(), requests_,
                                       fs::path(file).extension().string());
  std::error_code failed;
  fs::rename(file, kept, failed);
  if (failed) program_->fail("its answer cannot be kept: " + failed.message());
  return std::make_shared<ExecAnswer>(kept);
}

void ExecSubject::run(const Batch& batch, const Forced& forced, const Receive& receive) {
  if (description_.positions != 0 && batch.positions != description_.positions) {
    throw InputError(fmt::format("{}: it takes {} positions only: expected so many, got {}",
                                 describe(), description_.positions, batch.positions));
  }
  if (description_.batch != 0 && batch.batch != description_.batch) {
    if (config_ == nullptr) {
      throw InputError(fmt::format("{}: it takes {} rows only: expected so many, got {}",
                                   describe(), description_.batch, batch.batch));
    }
    return ask_by_pieces(batch, forced, receive);
  }
  ask(batch, forced, Asked::tensors, receive);
}

void ExecSubject::ask_by_pieces(const Batch& batch, const Forced& forced, const Receive& receive) {
  const int64_t rows = description_.batch;
  const std::map<std::string, std::string> axes = this->axes(batch);
  JoinedRows joined(batch, rows, axes);
  int64_t first = 0;
  for (const Batch& piece : pieces_of(batch, rows)) {
    golden::Tensor part;  // lives until the next call
    const Forced of_piece = [&](const std::string& name) -> const golden::Tensor* {
      const golden::Tensor* whole = forced(name);
      if (whole == nullptr) return nullptr;
      part = rows_of(*whole, axes.at(name), first, rows);
      return &part;
    };
    ask(piece, forced ? of_piece : Forced{}, Asked::tensors, [&](Observed observed) {
      if (observed.read) {
        observed.tensor.values.resize(
            static_cast<std::size_t>(golden::element_count(observed.tensor.shape)));
        try {
          observed.read(observed.tensor.values);
        } catch (const InputError&) {
          if (observed.may_fail) return;  // nobody asked for it
          throw;
        }
        observed.read = nullptr;
      }
      joined.add(piece, std::move(observed));
    });
    first += rows;
  }
  joined.hand_over(receive);
}

void ExecSubject::run_gradients(const Batch& batch, const Receive& receive) {
  if (description_.batch != 0 && batch.batch != description_.batch) {
    throw InputError(fmt::format(
        "{}: gradients: expected a batch of {} rows, which it takes, got {}; --leave-out "
        "'grad/*' judges the forward pass alone",
        describe(), description_.batch, batch.batch));
  }
  ask(batch, {}, Asked::gradients, receive);
}

void ExecSubject::converse(const WriteMessage& write, const TakeAnswer& take) {
  ++requests_;
  json message;
  {
    const golden::ShortLived temporary;
    require_folder();
    message = write(folder_, requests_);
  }
  message["id"] = requests_;
  program_->own_bytes(folder_use(folder_).bytes);
  try {
    const json said = parsed(answer_to(message), "its answer");
    require_answer(said);
    const auto answer = said.contains("file") ? taken(file_named(said)) : nullptr;
    take(said, answer == nullptr ? nullptr : &answer->reader());
  } catch (const InputError& error) {
    program_->fail(std::string("its answer cannot be read: ") + error.what());
  }
  clear_folder();
}

void ExecSubject::decode(const Batch& tokens, const Receive& receive) {
  ask(tokens, {}, Asked::decode, receive);
}

void ExecSubject::reset(int64_t, int64_t) {
  ++requests_;
  program_->send(json{{"type", "reset"}, {"id", requests_}}.dump());
  require_answer(parsed(program_->receive(), "its answer"));
}

void ExecSubject::ask(const Batch& batch, const Forced& forced, Asked asked,
                      const Receive& receive) {
  std::string line;
  const bool first = !forced && asked == Asked::tensors;
  if (first && !first_answer_.empty() && same_batch(batch, options_.first)) {
    line = first_answer_;
  } else {
    ++requests_;
    line = answer_to(write_request(batch, forced, asked));
  }
  first_answer_.clear();
  try {
    const json said = parsed(line, "its answer");
    const auto answer = taken(file_named(said));
    if (map_ != nullptr) answer->apply(*map_, *config_, batch);
    dtypes_ = answer->dtypes();
    const std::set<std::string> needed = hand_over(answer,
                                                   {.order = order_of(said, batch),
                                                    .asked = asked,
                                                    .any_model = config_ == nullptr,
                                                    .interests = interests_,
                                                    .who = description_.name},
                                                   receive);
    notes_ = answer->reader().notes(needed);
  } catch (const InputError& error) {
    program_->fail(std::string("its answer cannot be read: ") + error.what());
  }
  clear_folder();
}

// That of computation, or of a program with its own model what it says.
std::map<std::string, std::size_t> ExecSubject::order_of(const json& answer,
                                                         const Batch& batch) const {
  std::map<std::string, std::size_t> order;
  if (config_ != nullptr) {
    for (const golden::TensorInfo& info :
         golden::tensor_list(*config_, batch.batch, batch.positions)) {
      order.emplace(info.name, order.size());
    }
    return order;
  }
  const auto said = answer.find("order");
  if (said == answer.end() || !said->is_array()) return order;
  for (const json& name : *said) {
    if (name.is_string()) order.emplace(name.get<std::string>(), order.size());
  }
  return order;
}

void ExecSubject::clear_folder() {
  std::error_code failed;
  for (const fs::directory_entry& entry : fs::directory_iterator(folder_, failed)) {
    if (entry.path().filename() != "model") remove_folder(entry.path().c_str());
  }
}

}  // namespace assay::verify
