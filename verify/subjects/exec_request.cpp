#include "verify/subjects/exec_request.h"

#include <map>
#include <numeric>

#include "golden/exchange/npz.h"
#include "golden/exchange/safetensors.h"

namespace assay::verify {

void write_inputs(const std::string& path, const Batch& batch) {
  const golden::Shape shape{batch.batch, batch.positions};
  const auto widened = [](const auto& values) {
    return std::vector<double>(values.begin(), values.end());
  };
  golden::write_npz(
      path,
      {{"tokens", golden::Element::i32, shape},
       {"attention_mask", golden::Element::i32, shape},
       {"labels", golden::Element::i32, shape},
       {"position_ids", golden::Element::i32, {batch.positions}}},
      [&](const std::string& name) {
        if (name == "tokens") return widened(batch.tokens);
        if (name == "labels") return widened(batch.labels);
        if (name == "attention_mask") return widened(batch.attention_mask);
        std::vector<double> positions(static_cast<std::size_t>(batch.positions));
        std::iota(positions.begin(), positions.end(), 0.0);
        return positions;
      },
      golden::Rounding::refuse, true);
}

void write_forced(const std::string& path, const std::vector<golden::TensorInfo>& tensors,
                  const Forced& forced) {
  std::map<std::string, golden::Tensor> values;
  std::vector<golden::ExchangeTensor> list;
  for (const golden::TensorInfo& info : tensors) {
    const golden::Tensor* value = forced(info.name);
    if (value == nullptr) continue;
    values[info.name] = *value;
    list.push_back({info.name, golden::Element::f64, value->shape});
  }
  golden::write_safetensors(
      path, list, {}, [&](const std::string& name) { return values.at(name).values; },
      golden::Rounding::refuse, true);
}

}  // namespace assay::verify
