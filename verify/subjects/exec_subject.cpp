#include "verify/subjects/exec_subject.h"

#include <fmt/format.h>

#include <algorithm>
#include <filesystem>
#include <nlohmann/json.hpp>

#include "golden/contract/error.h"
#include "golden/contract/names.h"
#include "golden/contract/strict_json.h"
#include "golden/exchange/export.h"
#include "golden/exchange/npz.h"
#include "golden/exchange/safetensors.h"
#include "verify/subjects/refusal.h"
#include "verify/subjects/restrictions.h"
#include "verify/subjects/usage.h"

namespace assay::verify {
namespace {

namespace fs = std::filesystem;
using golden::DType;
using nlohmann::json;
using std::chrono::milliseconds;

constexpr int kProtocol = 1;
constexpr milliseconds kToSayBye{2000};

// A file of the private folder, by its bare name.
bool is_bare_name(const std::string& name) {
  return !name.empty() && name.find('/') == std::string::npos && name != "." && name != "..";
}

std::string text_of(const json& answer, const char* key) {
  const auto found = answer.find(key);
  return found != answer.end() && found->is_string() ? found->get<std::string>() : "";
}

// A size that an answer fixes; 0 where it does not.
int64_t size_of_answer(const json& answer, const char* key) {
  const auto found = answer.find(key);
  return found != answer.end() && found->is_number_integer() && *found > 0 ? found->get<int64_t>()
                                                                           : 0;
}

bool lists(const json& answer, const char* key, const std::string& word) {
  const auto found = answer.find(key);
  return found != answer.end() && found->is_array() &&
         std::find(found->begin(), found->end(), json(word)) != found->end();
}

}  // namespace

ExecSubject::ExecSubject(const ExecOptions& options, const golden::ModelConfig& config,
                         const golden::WeightSource& weights)
    : ExecSubject(options, &config, &weights, config.vocab_size) {}

ExecSubject::ExecSubject(const ExecOptions& options, int64_t vocab_size)
    : ExecSubject(options, nullptr, nullptr, vocab_size) {}

ExecSubject::ExecSubject(const ExecOptions& options, const golden::ModelConfig* config,
                         const golden::WeightSource* weights, int64_t vocab_size)
    : options_(options), config_(config), weights_(weights), vocab_size_(vocab_size) {
  program_ = std::make_unique<Program>(split_words(options.command), options.limits);
  folder_ = program_->folder();
  if (config_ != nullptr) {
    fs::create_directory(folder_ + "/model");
    const bool wide = options.storage == golden::Precision::fp64;
    golden::write_model(*config_, *weights_, wide ? golden::Element::f64 : golden::Element::f32,
                        folder_ + "/model");
    program_->own_bytes(folder_use(folder_).bytes);
  }
  program_->start();
  say_hello();
}

ExecSubject::~ExecSubject() {
  try {
    program_->send(R"({"type":"bye"})");
    program_->end(kToSayBye);
  } catch (const std::exception&) {  // it is gone already
  }
}

void ExecSubject::say_hello() {
  json hello{{"type", "hello"}, {"protocol", kProtocol}, {"folder", folder_}};
  if (config_ != nullptr) {
    hello["model"] = folder_ + "/model";
    hello["precision"] = golden::precision_name(options_.storage);
  } else {
    hello["vocab"] = vocab_size_;
  }
  program_->send(hello.dump());
  const std::string line = program_->receive();
  json answer;
  try {
    answer = golden::parse_strict_json(line, "hello", {.depth = 6, .in_list = 64});
  } catch (const InputError& error) {
    program_->fail(fmt::format("its answer to hello is no JSON object ({}): {}", error.what(),
                               golden::printable(line.substr(0, 200))));
  }
  if (const std::string problem = text_of(answer, "error"); !problem.empty()) {
    program_->fail("it refuses: " + golden::printable(problem));
  }
  program_name_ = text_of(answer, "name");
  if (program_name_.empty()) program_->fail("its answer to hello has no 'name'");
  if (const std::string version = text_of(answer, "version"); !version.empty()) {
    program_name_ += " " + version;
  }
  storage_ = text_of(answer, "storage");
  const golden::Precision storage =
      storage_.empty() ? options_.storage : golden::parse_precision(storage_);
  if (config_ != nullptr && storage != options_.storage) {
    throw InputError(fmt::format("{}: it computes in {}: expected --precision {}, got {}",
                                 program_name_, storage_, storage_,
                                 golden::precision_name(options_.storage)));
  }
  const std::string schedule = text_of(answer, "schedule"), angles = text_of(answer, "angles");
  says_schedule_ = !(options_.schedule.empty() && schedule.empty());
  schedule_ = golden::declared_schedule(program_name_, storage,
                                        options_.schedule.empty() ? schedule : options_.schedule,
                                        options_.angles.empty() ? angles : options_.angles);
  can_.can_force = config_ != nullptr && lists(answer, "can", "force");
  can_.can_grad = config_ != nullptr && lists(answer, "can", "gradients");
  can_.can_decode = lists(answer, "can", "decode");
  can_.reads_mask = lists(answer, "can", "mask");
  can_.fixed_batch = size_of_answer(answer, "batch");
  can_.fixed_length = size_of_answer(answer, "positions");
  map_ = options_.map;
  if (map_ != nullptr && config_ == nullptr) {
    throw InputError("--map: expected a model that it is of, got a program that brings its own");
  }
  if (const auto map = answer.find("map");
      map_ == nullptr && config_ != nullptr && map != answer.end()) {
    map_ = std::make_shared<golden::NameMap>(
        map->is_string() ? golden::NameMap::load(map->get<std::string>())
                         : golden::NameMap::parse(map->dump(), program_name_ + ": map"));
  }
}

std::string ExecSubject::describe() const {
  return fmt::format("{} (exec:{})", golden::printable(program_name_), options_.command);
}

std::string ExecSubject::arithmetic() const {
  return golden::schedule_text(schedule_) +
         (says_schedule_ ? "" : ", the widest schedule, for it declares none");
}

DType ExecSubject::dtype_of(const std::string& tensor_name) const {
  const DType storage = verify::dtype_of(schedule_.storage_of(tensor_name));
  if (storage == DType::float64) return storage;
  const auto found = dtypes_.find(tensor_name);
  return found != dtypes_.end() && found->second == storage ? storage : DType::float32;
}

std::unique_ptr<Subject> ExecSubject::another() const {
  return std::unique_ptr<Subject>(new ExecSubject(options_, config_, weights_, vocab_size_));
}

// The inputs of a run, and what is forced, as files; their message.
std::string ExecSubject::write_request(const Batch& batch, const Forced& forced,
                                       Asked asked) const {
  const golden::Shape shape{batch.batch, batch.positions};
  const auto widened = [](const auto& values) {
    return std::vector<double>(values.begin(), values.end());
  };
  const std::string inputs = fmt::format("request-{}.npz", requests_);
  golden::write_npz(
      folder_ + "/" + inputs,
      {{"tokens", golden::Element::i32, shape},
       {"attention_mask", golden::Element::i32, shape},
       {"labels", golden::Element::i32, shape}},
      [&](const std::string& name) {
        return name == "tokens"   ? widened(batch.tokens)
               : name == "labels" ? widened(batch.labels)
                                  : widened(batch.attention_mask);
      },
      golden::Rounding::refuse, true);
  json message{
      {"type", asked == Asked::decode ? "decode" : "run"}, {"id", requests_}, {"inputs", inputs}};
  if (asked == Asked::gradients) message["gradients"] = true;
  if (forced) {
    std::map<std::string, golden::Tensor> values;
    std::vector<golden::ExchangeTensor> tensors;
    for (const golden::TensorInfo& info :
         golden::tensor_list(*config_, batch.batch, batch.positions)) {
      const golden::Tensor* value = forced(info.name);
      if (value == nullptr) continue;
      values[info.name] = *value;
      tensors.push_back({info.name, golden::Element::f64, value->shape});
    }
    const std::string file = fmt::format("forced-{}.safetensors", requests_);
    golden::write_safetensors(
        folder_ + "/" + file, tensors, {},
        [&](const std::string& name) { return values.at(name).values; }, golden::Rounding::refuse,
        true);
    message["forced"] = file;
  }
  return message.dump();
}

// Reads an answer: one to the last request, and no error.
json ExecSubject::parse_answer(const std::string& line) {
  json answer;
  try {
    answer = golden::parse_strict_json(line, "answer", {.depth = 4, .in_list = 65536});
  } catch (const InputError& error) {
    program_->fail(fmt::format("its answer is no JSON object ({}): {}", error.what(),
                               golden::printable(line.substr(0, 200))));
  }
  const auto id = answer.find("id");
  if (const std::string problem = text_of(answer, "error"); !problem.empty()) {
    if (config_ != nullptr) program_->fail("it failed: " + golden::printable(problem));
    throw SubjectRefusal(
        fmt::format("{}: it failed: {}", program_name_, golden::printable(problem)));
  }
  if (id == answer.end() || *id != json(requests_)) {
    program_->fail(fmt::format("it answered another request: expected id {}, got {}", requests_,
                               golden::printable(id == answer.end() ? "none" : id->dump())));
  }
  return answer;
}

// The path of the file that a run's answer names; keeps the order that it states.
std::string ExecSubject::file_named(const std::string& line) {
  const json answer = parse_answer(line);
  order_.clear();
  if (const auto order = answer.find("order"); order != answer.end() && order->is_array()) {
    for (const json& name : *order) {
      if (name.is_string()) order_.emplace(name.get<std::string>(), order_.size());
    }
  }
  const std::string file = text_of(answer, "file");
  if (!is_bare_name(file) || !fs::is_regular_file(fs::symlink_status(folder_ + "/" + file))) {
    program_->fail(fmt::format("expected in 'file' the name of a file in {}, got '{}'", folder_,
                               golden::printable(file)));
  }
  return folder_ + "/" + file;
}

void ExecSubject::run(const Batch& batch, const Forced& forced, const Receive& receive) {
  ask(batch, forced, Asked::tensors, receive);
}

void ExecSubject::run_gradients(const Batch& batch, const Receive& receive) {
  ask(batch, {}, Asked::gradients, receive);
}

void ExecSubject::decode(const Batch& tokens, const Receive& receive) {
  ask(tokens, {}, Asked::decode, receive);
}

void ExecSubject::reset() {
  ++requests_;
  program_->send(json{{"type", "reset"}, {"id", requests_}}.dump());
  parse_answer(program_->receive());
}

void ExecSubject::ask(const Batch& batch, const Forced& forced, Asked asked,
                      const Receive& receive) {
  ++requests_;
  program_->send(write_request(batch, forced, asked));
  const std::string path = file_named(program_->receive());
  try {
    hand_over(path, batch, asked, receive);
  } catch (const InputError& error) {
    program_->fail(std::string("its answer cannot be read: ") + error.what());
  }
  for (const fs::directory_entry& entry : fs::directory_iterator(folder_)) {
    const std::string name = entry.path().filename();
    if (name != "model") remove_folder(entry.path().c_str());
  }
}

// In order of computation where a name has a place in it, then the others as the file has them.
void ExecSubject::hand_over(const std::string& path, const Batch& batch, Asked asked,
                            const Receive& receive) {
  golden::MappedDump reader(path, golden::Reading::lenient);
  if (map_ != nullptr) reader.apply(*map_, *config_, batch.batch, batch.positions);
  std::map<std::string, std::size_t> place = order_;
  if (config_ != nullptr) {
    place.clear();
    for (const golden::TensorInfo& info :
         golden::tensor_list(*config_, batch.batch, batch.positions)) {
      place.emplace(info.name, place.size());
    }
  }
  std::vector<golden::DumpEntry> entries = reader.entries();
  const auto place_of = [&](const golden::DumpEntry& entry) {
    const auto found = place.find(entry.name);
    return found == place.end() ? place.size() : found->second;
  };
  std::stable_sort(entries.begin(), entries.end(),
                   [&](const auto& a, const auto& b) { return place_of(a) < place_of(b); });
  dtypes_.clear();
  needed_.clear();
  for (const golden::DumpEntry& entry : entries) dtypes_[entry.name] = entry.dtype;
  for (const golden::DumpEntry& entry : entries) {
    if (config_ != nullptr && is_gradient(entry.name) != (asked == Asked::gradients)) continue;
    const Interest interest = interests_ ? interests_(entry.name) : Interest::needed;
    if (interest == Interest::none) continue;
    if (interest == Interest::useful && !entry.problem.empty()) continue;
    const bool has_none = config_ == nullptr && !entry.problem.empty();
    const bool wanted = interest != Interest::named && !has_none;
    const bool needed = interest == Interest::needed;
    if (needed) needed_.insert(entry.name);
    receive({.name = entry.name,
             .dtype = entry.dtype,
             .tensor = wanted ? reader.read(entry.name) : golden::Tensor{},
             .problem = has_none ? entry.problem : "",
             .restrictions = restrictions_of(reader, entry.name, needed)});
  }
  notes_ = reader.notes(needed_);
}

}  // namespace assay::verify
