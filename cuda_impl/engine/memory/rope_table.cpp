// frequency_i = theta^(-2i/Dh). With rope_scaling of kind llama3, in wavelengths w = 2 pi /
// frequency and with P = original_max_position_embeddings:
//   w > P / low_freq_factor     frequency / factor    turns less than once in P: interpolate
//   w < P / high_freq_factor    frequency             short wavelengths stay
//   between                     (1 - s) frequency / factor + s frequency,
//                               s = (P / w - low_freq_factor)
//                                   / (high_freq_factor - low_freq_factor)
// Source: Hugging Face transformers, modeling_rope_utils.py, _compute_llama3_parameters.
#include "cuda_impl/engine/memory/rope_table.h"

#include <cmath>
#include <numbers>

namespace assay::cuda {
inline namespace SIMT_BACKEND {
namespace {

double scaled(double frequency, const golden::RopeScaling& scaling) {
  const auto context = static_cast<double>(scaling.original_max_position_embeddings);
  const double wavelength = 2.0 * std::numbers::pi / frequency;
  if (wavelength > context / scaling.low_freq_factor) return frequency / scaling.factor;
  if (wavelength < context / scaling.high_freq_factor) return frequency;
  const double share = (context / wavelength - scaling.low_freq_factor) /
                       (scaling.high_freq_factor - scaling.low_freq_factor);
  return (1.0 - share) * frequency / scaling.factor + share * frequency;
}

}  // namespace

std::vector<double> rope_frequencies(const golden::ModelConfig& config) {
  std::vector<double> frequencies(static_cast<std::size_t>(config.head_dim / 2));
  for (std::size_t i = 0; i < frequencies.size(); ++i) {
    const double exponent = -2.0 * static_cast<double>(i) / static_cast<double>(config.head_dim);
    frequencies[i] = std::pow(config.rope_theta, exponent);
    if (config.rope_scaling) frequencies[i] = scaled(frequencies[i], *config.rope_scaling);
  }
  return frequencies;
}

}  // namespace SIMT_BACKEND
}  // namespace assay::cuda
