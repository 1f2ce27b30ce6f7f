// A test bundle: cases of a suite for a machine that has a GPU and neither HDF5 nor the reference.
// It is a folder with bundle.json and a .safetensors file for each case.
//
//   bundle.json  {"assay_bundle": 1, "suite": "device",
//                 "cases": [{"name": "1-llama-gqa-b2-t9-keep", "file": "<name>.safetensors",
//                            "hash": FNV-1a of the file's bytes, 64 bits, 16 hex digits}]}
//
// A case's metadata has "config", the canonical config.json, and "narrow_probs", the precisions in
// which the engine rounds probabilities where they meet their values
// (golden/contract/precision.h), as "bf16 fp16". Its tensors, <p> = fp32, tf32, bf16, fp16:
//
//   inputs/tokens, inputs/labels  I32 [B,T]       inputs/attention_mask  U8 [B,T]
//   weights/<HF name>             BF16 where that holds them, else F64
//   golden/<tensor>               F64, for every tensor of golden::tensor_list
//   <p>/bound/<tensor>            BF16, of |candidate - golden| when it runs freely
//   <p>/local/<tensor>            F32, scores, probabilities and loss F64; of bf16 and fp16: what
//                                 the tensor is when every tensor before it but scores and
//                                 probabilities is the golden one rounded to <p>
//   <p>/local_bound/<tensor>      BF16, of |candidate - local|
//   gradient/<HF name>            F32, of cases with gradients: of the loss, for every weight
//
// Bounds are the judge's (verify/numerics/expectation.h), rounded up. Scores and probabilities,
// which stay in the accumulator's type, are rounded to nothing.
#pragma once

#include <array>
#include <cinttypes>
#include <cstdio>
#include <string>
#include <string_view>

#include "golden/contract/precision.h"
#include "golden/contract/random.h"

namespace assay::golden::bundle {

inline constexpr char kManifest[] = "bundle.json";
inline constexpr int kVersion = 1;
inline constexpr Precision kPrecisions[] = {Precision::fp32, Precision::tf32, Precision::bf16,
                                            Precision::fp16};

// Of 16-bit types: free-running bounds in fp32 are tight enough to name the tensor, and tf32, which
// stores fp32, would need local values of 64 bits.
inline bool has_local(Precision precision) {
  return precision == Precision::bf16 || precision == Precision::fp16;
}

inline std::string bound_name(Precision precision, const std::string& tensor) {
  return precision_name(precision) + "/bound/" + tensor;
}
inline std::string local_name(Precision precision, const std::string& tensor) {
  return precision_name(precision) + "/local/" + tensor;
}
inline std::string local_bound_name(Precision precision, const std::string& tensor) {
  return precision_name(precision) + "/local_bound/" + tensor;
}

// What the bounds hold for, by the case's narrow_probs.
inline PrecisionSchedule schedule_of(Precision storage, std::string_view narrow_probs) {
  PrecisionSchedule schedule = usual_schedule(storage);
  schedule.narrow_probs = narrow_probs.find(precision_name(storage)) != std::string_view::npos;
  return schedule;
}

inline std::string file_hash(std::string_view bytes) {
  std::array<char, 17> hex{};
  std::snprintf(hex.data(), hex.size(), "%016" PRIx64, stream_id(bytes));
  return hex.data();
}

}  // namespace assay::golden::bundle
