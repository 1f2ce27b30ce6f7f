#include "verify/subjects/description.h"

#include <fmt/format.h>

#include <algorithm>
#include <nlohmann/json.hpp>

#include "golden/contract/error.h"

namespace assay::verify {
namespace {

using golden::Precision;
using nlohmann::json;

[[noreturn]] void refuse_key(const char* key, const std::string& expected, const json& got) {
  throw InputError(
      fmt::format("'{}': expected {}, got {}", key, expected, golden::printable(got.dump())));
}

// A text of at most 200 bytes; "" where there is none.
std::string text_at(const json& answer, const char* key) {
  const auto found = answer.find(key);
  if (found == answer.end() || found->is_null()) return "";
  if (!found->is_string() || found->get_ref<const std::string&>().size() > 200) {
    refuse_key(key, "a text", *found);
  }
  return found->get<std::string>();
}

std::vector<std::string> texts_at(const json& answer, const char* key) {
  const auto found = answer.find(key);
  if (found == answer.end() || found->is_null()) return {};
  if (found->is_string()) return {found->get<std::string>()};
  const bool texts = found->is_array() && std::all_of(found->begin(), found->end(),
                                                      [](const json& j) { return j.is_string(); });
  if (!texts) refuse_key(key, "a list of texts", *found);
  return found->get<std::vector<std::string>>();
}

// Texts that are all known.
std::vector<std::string> words_at(const json& answer, const char* key,
                                  const std::vector<std::string>& known) {
  std::vector<std::string> words = texts_at(answer, key);
  for (const std::string& word : words) {
    if (std::find(known.begin(), known.end(), word) != known.end()) continue;
    refuse_key(key, fmt::format("words of {}", fmt::join(known, ", ")), word);
  }
  return words;
}

// "layers/*/attn/out,logits" of a list of them, "*" where "all" is among them, "" of none.
std::string patterns_at(const json& answer, const char* key) {
  std::vector<std::string> patterns = texts_at(answer, key);
  std::replace(patterns.begin(), patterns.end(), std::string("all"), std::string("*"));
  return fmt::format("{}", fmt::join(patterns, ","));
}

std::string precision_at(const json& answer, const char* key) {
  std::string text = text_at(answer, key);
  if (text.empty()) return "";
  try {
    golden::parse_precision(text);
  } catch (const InputError&) {
    refuse_key(key, "fp64, fp32, tf32, bf16 or fp16", text);
  }
  return text;
}

std::string word_at(const json& answer, const char* key, const std::vector<std::string>& known) {
  std::string text = text_at(answer, key);
  if (!text.empty() && std::find(known.begin(), known.end(), text) == known.end()) {
    refuse_key(key, fmt::format("{}", fmt::join(known, " or ")), text);
  }
  return text;
}

int64_t extent_at(const json& answer, const char* key) {
  const auto found = answer.find(key);
  if (found == answer.end() || found->is_null() || *found == json("any")) return 0;
  constexpr int64_t kMost = int64_t{1} << 31;
  if (!found->is_number_integer() || *found < json(1) || *found > json(kMost)) {
    refuse_key(key, "a whole number from 1 or \"any\"", *found);
  }
  return found->get<int64_t>();
}

// 0 or more; absent where there is none.
std::optional<double> number_at(const json& answer, const char* key) {
  const auto found = answer.find(key);
  if (found == answer.end() || found->is_null()) return std::nullopt;
  if (!found->is_number() || !(found->get<double>() >= 0)) {
    refuse_key(key, "a number from 0", *found);
  }
  return found->get<double>();
}

void require_protocol(const json& answer) {
  const auto found = answer.find("protocol");
  if (found == answer.end() || *found == json(kProtocol)) return;
  refuse_key("protocol", std::to_string(kProtocol), *found);
}

}  // namespace

bool ProgramDescription::can_do(const std::string& word) const {
  return std::find(can.begin(), can.end(), word) != can.end();
}

std::string error_in(const json& answer) {
  const auto problem = answer.find("error");
  if (problem == answer.end() || problem->is_null()) return "";
  const std::string text = problem->is_string() ? problem->get<std::string>() : problem->dump();
  return golden::printable(text.empty() ? "it does not say why" : text);
}

ProgramDescription read_description(const json& answer, bool named) {
  require_protocol(answer);
  ProgramDescription program;
  program.name = text_at(answer, "name");
  if (program.name.empty() && named) throw InputError("it has no 'name'");
  if (const std::string version = text_at(answer, "version"); !version.empty()) {
    program.name = fmt::format("{} {}", program.name, version);
  }
  program.storage = precision_at(answer, "storage");
  program.accumulation = precision_at(answer, "accumulation");
  program.schedule = word_at(answer, "schedule", {"eager", "fused"});
  program.angles = word_at(answer, "angles", {"double", "float32", "storage"});
  word_at(answer, "format", {"npz", "safetensors", "hdf5"});
  program.can =
      words_at(answer, "can", {"forward", "force", "gradients", "decode", "mask", "train"});
  program.wide = patterns_at(answer, "wide");
  program.tensors = patterns_at(answer, "tensors");
  program.master = precision_at(answer, "master");
  program.scalars = word_at(answer, "scalars", {"double", "master"});
  program.clip_epsilon = number_at(answer, "clip_epsilon");
  program.batch = extent_at(answer, "batch");
  program.positions = extent_at(answer, "positions");
  return program;
}

golden::PrecisionSchedule schedule_of(const ProgramDescription& program, Precision storage,
                                      const std::string& schedule, const std::string& angles) {
  if (!program.storage.empty() && golden::parse_precision(program.storage) != storage) {
    throw InputError(fmt::format("{}: it computes in {}: expected --precision {}, got {}",
                                 golden::printable(program.name), program.storage, program.storage,
                                 golden::precision_name(storage)));
  }
  golden::PrecisionSchedule made = golden::declared_schedule(
      golden::printable(program.name), storage, schedule.empty() ? program.schedule : schedule,
      angles.empty() ? program.angles : angles);
  if (!program.accumulation.empty()) {
    made.accumulate = golden::parse_precision(program.accumulation);
    if (golden::unit_roundoff(made.accumulate) > golden::unit_roundoff(made.storage)) {
      throw InputError(fmt::format(
          "{}: 'accumulation': expected no narrower type than {}, in which it stores, got {}",
          golden::printable(program.name), golden::precision_name(made.storage),
          program.accumulation));
    }
  }
  made.wide = program.wide;
  return made;
}

}  // namespace assay::verify
