#include "golden/maps/samples.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

namespace assay::golden {
namespace {

constexpr int kSamples = 256;
constexpr int kLastSamples = 64;
constexpr int kMaskedSamples = 32;

// Places that are spread over a tensor, the same in every run: multiples of the golden section.
class Places {
 public:
  explicit Places(int64_t elements) : elements_(elements) {}
  int64_t next() {
    at_ = std::fmod(at_ + 0.6180339887498949, 1.0);
    return std::min(elements_ - 1, static_cast<int64_t>(at_ * static_cast<double>(elements_)));
  }

 private:
  int64_t elements_;
  double at_ = 0.5;
};

Sample sample_at(const SampledTensor& tensor, int64_t element, double value) {
  Sample sample{std::vector<int64_t>(tensor.atoms.size()), value};
  for (std::size_t a = tensor.atoms.size(); a-- > 0;) {
    sample.index[a] = element % tensor.extents[a];
    element /= tensor.extents[a];
  }
  return sample;
}

// Extents of atoms: known ones, and what is left of an axis for one that is not.
void take_apart(SampledTensor& tensor, const std::map<std::string, int64_t>& known) {
  for (std::size_t i = 0; i < tensor.axes.size(); ++i) {
    const std::vector<std::string> names = names_in({tensor.axes[i]}, 0);
    int64_t left = tensor.info.shape[i];
    std::vector<int64_t> extents;
    for (const std::string& name : names) {
      const auto found = known.find(name);
      const bool fits = found != known.end() && names.size() > 1 && left % found->second == 0;
      extents.push_back(fits ? found->second : names.size() == 1 ? left : 0);
      if (fits) left /= found->second;
    }
    for (std::size_t a = 0; a < names.size(); ++a) {
      tensor.atoms.push_back(names[a]);
      tensor.extents.push_back(extents[a] == 0 ? left : extents[a]);
      if (extents[a] == 0) left = 1;
    }
  }
  int64_t product = 1;
  for (const int64_t extent : tensor.extents) product *= extent;
  if (product == tensor.elements()) return;
  tensor.atoms.clear();  // axes that do not take apart so: as they are
  tensor.extents = tensor.info.shape;
  tensor.axes.clear();
  for (std::size_t i = 0; i < tensor.info.shape.size(); ++i) {
    tensor.atoms.push_back(fmt::format("axis{}", i));
    tensor.axes.push_back({tensor.atoms.back(), {}});
  }
}

}  // namespace

SampledTensor sample_tensor(const ModelConfig& config, const TensorInfo& info,
                            const std::map<std::string, int64_t>& extents,
                            const std::vector<double>& values) {
  SampledTensor tensor;
  tensor.info = info;
  tensor.axes = axes_of(config, info);
  take_apart(tensor, extents);
  const auto elements = static_cast<int64_t>(values.size());
  if (elements == 0) return tensor;
  Places places(elements);
  const auto wanted = static_cast<std::size_t>(std::min<int64_t>(kSamples, elements));
  std::vector<Sample> zeros;
  for (int tries = 0; tries < 4 * kSamples && tensor.samples.size() < wanted; ++tries) {
    const int64_t element = places.next();
    const double value = values[static_cast<std::size_t>(element)];
    if (std::isfinite(value)) {
      (value == 0 ? zeros : tensor.samples).push_back(sample_at(tensor, element, value));
    } else if (value < 0 && tensor.masked.size() < kMaskedSamples) {
      tensor.masked.push_back(sample_at(tensor, element, value));
    }
  }
  if (zeros.size() > wanted / 4) zeros.resize(wanted / 4);
  tensor.samples.insert(tensor.samples.end(), zeros.begin(), zeros.end());
  for (const Sample& sample : tensor.samples) {
    tensor.rms += sample.value * sample.value;
    tensor.largest = std::max(tensor.largest, std::fabs(sample.value));
  }
  if (!tensor.samples.empty()) {
    tensor.rms = std::sqrt(tensor.rms / static_cast<double>(tensor.samples.size()));
  }
  if (info.name == "logits") {
    for (int64_t i = 0; i < kLastSamples; ++i) {
      Sample sample = sample_at(tensor, places.next(), 0);
      sample.index[1] = tensor.extents[1] - 1;
      int64_t element = 0;
      for (std::size_t a = 0; a < sample.index.size(); ++a) {
        element = element * tensor.extents[a] + sample.index[a];
      }
      sample.value = values[static_cast<std::size_t>(element)];
      tensor.last.push_back(std::move(sample));
    }
  }
  return tensor;
}

}  // namespace assay::golden
