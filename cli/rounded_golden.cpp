#include "cli/rounded_golden.h"

#include <fmt/format.h>

#include <algorithm>
#include <filesystem>

#include "golden/file/partials.h"
#include "golden/generate/generate.h"
#include "verify/subjects/bindings.h"

namespace assay::cli {

std::unique_ptr<RoundedGolden> RoundedGolden::of(const golden::GoldenReader& golden,
                                                 golden::Precision storage) {
  const verify::Unheld unheld = verify::weights_not_in(golden, storage);
  if (unheld.values == 0) return nullptr;
  return std::unique_ptr<RoundedGolden>(new RoundedGolden(
      golden, storage,
      fmt::format("{} values of {} weights are no numbers of {}, {} first: judged by what the "
                  "reference computes with the nearest ones",
                  unheld.values, unheld.weights, golden::precision_name(storage), unheld.first)));
}

RoundedGolden::RoundedGolden(const golden::GoldenReader& golden, golden::Precision storage,
                             std::string summary)
    : path_(golden::make_partial(
          (std::filesystem::temp_directory_path() / "assay-rounded.h5").string(),
          "a temporary golden file")),
      summary_(std::move(summary)) {
  const golden::Header& header = golden.header();
  const verify::Batch batch = verify::read_batch(golden);
  const verify::HeldWeights weights(golden, header.config.method, storage);
  golden::GenerateRequest request;
  request.config = header.config;
  request.seed = header.seed;
  request.batch = batch.batch;
  request.positions = batch.positions;
  request.tokens = batch.tokens;
  request.attention_mask = batch.attention_mask;
  request.labels = batch.labels;
  request.weights = &weights;
  request.store_weights = true;
  request.gradients = std::any_of(golden.manifest().begin(), golden.manifest().end(),
                                  [](const auto& row) { return row.role == "grad"; });
  request.capture = golden::Capture::hash;
  request.out = path_;
  request.force = true;
  try {
    golden::generate(request);
    reader_ = std::make_unique<golden::GoldenReader>(path_);
  } catch (...) {
    std::filesystem::remove(path_);
    golden::forget_partial(path_);
    throw;
  }
}

RoundedGolden::~RoundedGolden() {
  std::error_code ignored;
  std::filesystem::remove(path_, ignored);
  golden::forget_partial(path_);
}

}  // namespace assay::cli
