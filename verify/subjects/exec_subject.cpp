#include "verify/subjects/exec_subject.h"

#include <fmt/format.h>

#include <filesystem>
#include <nlohmann/json.hpp>

#include "golden/contract/error.h"
#include "golden/contract/names.h"
#include "golden/contract/strict_json.h"
#include "golden/exchange/export.h"
#include "golden/file/files.h"
#include "verify/subjects/exec_answer.h"
#include "verify/subjects/usage.h"

namespace assay::verify {
namespace {

namespace fs = std::filesystem;
using golden::DType;
using nlohmann::json;
using Mode = Program::Mode;

constexpr std::chrono::milliseconds kToSayBye{2000};

Batch four_tokens(int64_t vocab_size) {
  Batch batch;
  batch.batch = 1;
  batch.positions = 4;
  for (int32_t t = 0; t < 4; ++t) {
    batch.tokens.push_back(t % static_cast<int32_t>(vocab_size));
  }
  batch.labels = batch.tokens;
  batch.attention_mask.assign(4, 1);
  return batch;
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
  prepare("");
  if (options_.mode == Mode::lines) {
    program_->start();
    program_->send(hello().dump());
    learn(parsed(program_->receive(), "its answer to hello"), true);
    return;
  }
  const bool given = options_.first.batch > 0;
  const Batch made = given ? Batch{} : four_tokens(vocab_size_);
  ++requests_;
  const std::string line =
      answer_to(write_request(given ? options_.first : made, {}, Asked::tensors));
  learn(parsed(line, "its answer"), false);
  if (given) first_answer_ = line;
  if (!given) clear_folder();
}

// Made anew; what it says of itself is known.
ExecSubject::ExecSubject(const ExecSubject& like)
    : Subject(like),
      options_(like.options_),
      config_(like.config_),
      weights_(like.weights_),
      vocab_size_(like.vocab_size_) {
  prepare(like.folder_ + "/model");
  if (options_.mode == Mode::once) {
    description_ = like.description_;
    schedule_ = like.schedule_;
    map_ = like.map_;
    return;
  }
  program_->start();
  program_->send(hello().dump());
  learn(parsed(program_->receive(), "its answer to hello"), true);
}

ExecSubject::~ExecSubject() {
  try {
    if (options_.mode == Mode::lines) program_->send(R"({"type":"bye"})");
    program_->end(options_.mode == Mode::lines ? kToSayBye : std::chrono::milliseconds(0));
  } catch (const std::exception&) {  // it is gone already
  }
}

// Makes the folder with the model; with the files of another's where there is one.
void ExecSubject::prepare(const std::string& model) {
  const golden::ShortLived temporary;
  program_ =
      std::make_unique<Program>(split_words(options_.command), options_.limits, options_.mode);
  folder_ = program_->folder();
  if (config_ == nullptr) return;
  const std::string own = folder_ + "/model";
  std::error_code failed;
  fs::create_directory(own, failed);
  if (!model.empty()) {
    for (const char* file : {"/config.json", "/model.safetensors"}) {
      if (!failed) fs::create_hard_link(model + file, own + file, failed);
    }
  }
  if (model.empty() || failed) {
    const bool wide = options_.storage == golden::Precision::fp64;
    try {
      golden::write_model(*config_, *weights_, wide ? golden::Element::f64 : golden::Element::f32,
                          own);
    } catch (const InputError& error) {
      const std::string text = error.what();
      if (text.find(folder_) == std::string::npos) throw;
      throw InputError(text + "; TMPDIR names another place");
    }
  }
  model_bytes_ = folder_use(folder_).bytes;
  program_->own_bytes(model_bytes_);
}

json ExecSubject::hello() const {
  json hello{{"type", "hello"}, {"protocol", kProtocol}, {"folder", folder_}};
  if (config_ != nullptr) {
    hello["model"] = folder_ + "/model";
    hello["precision"] = golden::precision_name(options_.storage);
  } else {
    hello["vocab"] = vocab_size_;
  }
  return hello;
}

json ExecSubject::parsed(const std::string& line, const char* what) {
  try {
    return golden::parse_strict_json(line, "answer", {.depth = 6, .in_list = 65536});
  } catch (const InputError& error) {
    program_->fail(fmt::format("{} is no JSON object ({}): {}", what, error.what(),
                               golden::printable(line.substr(0, 200))));
  }
}

void ExecSubject::learn(const json& answer, bool named) {
  if (const std::string problem = error_in(answer); !problem.empty()) {
    program_->fail("it refuses: " + problem);
  }
  try {
    description_ = read_description(answer, named);
  } catch (const InputError& error) {
    program_->fail(fmt::format("its answer{}: {}", named ? " to hello" : "", error.what()));
  }
  if (description_.name.empty()) description_.name = split_words(options_.command).front();
  const golden::Precision own = description_.storage.empty()
                                    ? options_.storage
                                    : golden::parse_precision(description_.storage);
  schedule_ = schedule_of(description_, config_ != nullptr ? options_.storage : own,
                          options_.schedule, options_.angles);
  learn_map(answer);
}

// What was asked for wins over what the program brings.
void ExecSubject::learn_map(const json& answer) {
  map_ = options_.map;
  if (map_ != nullptr && config_ == nullptr) {
    throw InputError("--map: expected a model that it is of, got a program that brings its own");
  }
  const auto map = answer.find("map");
  if (map_ != nullptr || config_ == nullptr || map == answer.end()) return;
  map_ = std::make_shared<golden::NameMap>(
      map->is_string()
          ? golden::NameMap::load(map->get<std::string>())
          : golden::NameMap::parse(map->dump(), golden::printable(description_.name) + ": map"));
}

std::string ExecSubject::describe() const {
  return fmt::format("{} ({}:{})", golden::printable(description_.name),
                     options_.mode == Mode::once ? "exec-once" : "exec", options_.command);
}

std::string ExecSubject::arithmetic() const {
  const bool says = !(options_.schedule.empty() && description_.schedule.empty());
  return golden::schedule_text(schedule_) +
         (says ? "" : ", the widest schedule, for it declares none");
}

Capabilities ExecSubject::capabilities() const {
  const bool ours = config_ != nullptr;
  const bool keeps_a_cache = options_.mode == Mode::lines && description_.can_do("decode");
  return {.can_run = true,
          .can_force = ours && description_.can_do("force"),
          .can_grad = ours && description_.can_do("gradients"),
          .can_decode = keeps_a_cache,
          .reads_mask = description_.can_do("mask"),
          .fixed_batch = description_.batch,
          .fixed_length = description_.positions};
}

DType ExecSubject::dtype_of(const std::string& tensor_name) const {
  const DType storage = verify::dtype_of(schedule_.storage_of(tensor_name));
  if (storage == DType::float64) return storage;
  const auto found = dtypes_.find(tensor_name);
  return found != dtypes_.end() && found->second == storage ? storage : DType::float32;
}

bool ExecSubject::computes(const std::string& tensor_name) const {
  return golden::matches(description_.tensors, tensor_name);
}

std::unique_ptr<Subject> ExecSubject::another() const {
  return std::unique_ptr<Subject>(new ExecSubject(*this));
}

}  // namespace assay::verify
