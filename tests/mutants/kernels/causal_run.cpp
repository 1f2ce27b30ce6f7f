// The judge of dependences as a program, for kernels with a planted defect:
//   causal_run METHOD PADDING POSITIONS [WINDOW | stacked [STORED_BYTES]]
// on a Llama block with two rows (window 0: none; STORED_BYTES as in ModelOptions). It prints the
// first fault, or what it has looked at, and whether the logits are the fp64 engine's. With
// `stacked` there are 3 layers, whose recomputes run all at once. Method pt has 2 rounds, messages
// from heads, and causal heads or, with a window, centred ones.
#include <fmt/format.h>

#include <cstdlib>
#include <string>

#include "tests/cuda_impl/engine/dependence_judge.h"

using namespace assay;

namespace {

struct LogitsProbe final : cuda::Probe {
  std::vector<double> logits;

  bool wants(const std::string& name) override { return name == "logits"; }
  void tap(const std::string&, golden::TensorView value) override {
    logits.assign(value.values.begin(), value.values.end());
  }
  bool force(const std::string&, std::span<double>) override { return false; }
};

}  // namespace

int main(int argc, char** argv) {
  if (argc < 4 || argc > 6) return 2;
  const std::string method = argv[1], mode = argc > 4 ? argv[4] : "0";
  const bool stacked = mode == "stacked";
  golden::ModelConfig config = method == "pt"
                                   ? dependences::tiny_pt(golden::ProbTransformer::Message::head)
                                   : dependences::tiny(method, stacked ? 3 : 2);
  if (!stacked) config.window = std::atoi(mode.c_str());
  if (method == "pt" && config.window > 0) {  // which a causal model refuses
    config.window_kind = golden::WindowKind::centred;
    config.pt.causal_heads = false;
    config.pt.output = golden::ProbTransformer::Output::mlm;
  }
  const dependences::Tokens tokens(2, std::atoi(argv[3]), std::atoi(argv[2]));
  cuda::ModelOptions options{.recompute =
                                 stacked ? cuda::Recompute::stacked : cuda::Recompute::each};
  if (argc > 5) options.stored_bytes = static_cast<std::size_t>(std::atoll(argv[5]));
  const dependences::Result result = dependences::judge(config, tokens, options);

  LogitsProbe probe;
  cuda::make_host_model(config, golden::Precision::fp64, golden::SyntheticWeights(config, 7),
                        options)
      ->forward(tokens.view(), &probe);
  const std::string values =
      result.logits == probe.logits ? "logits as without it" : "logits differ";
  if (result.first_fault.empty()) {
    fmt::print("exact: {} tensors, {} elements, {}\n", result.tensors, result.elements, values);
    return 0;
  }
  fmt::print("FAULT {}, {}\n", result.first_fault, values);
  return 1;
}
