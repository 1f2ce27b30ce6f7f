// What a candidate says about its arithmetic; the bounds of verify/ are derived from it.
#pragma once

#include <optional>
#include <string>

namespace assay::golden {

// tf32 is fp32 with the 11 significant bits of fp16: what tensor cores read of an fp32 factor.
enum class Precision { fp64, fp32, tf32, bf16, fp16 };

Precision parse_precision(const std::string& text);  // throws InputError naming what there is
std::string precision_name(Precision precision);
double unit_roundoff(Precision precision);  // half an ulp of 1: 2^-53, 2^-24, 2^-11, 2^-8, 2^-11
double round_to(Precision precision, double x);  // nearest, ties to even; beyond the range: inf
double spacing(Precision precision, double x);   // between neighbours at x, subnormals included
double smallest(Precision precision);            // positive number, a subnormal: 2^-149 for fp32
double smallest_normal(Precision precision);     // below it an implementation may flush to 0
double largest(Precision precision);             // finite number: 65504 for fp16

// Whether a tensor of golden::tensor_list is attention scores or probabilities, of `pt` what heads
// are made of: what a fused kernel never writes.
bool is_attention_matrix(const std::string& tensor_name);

// Whether it is the sizes of a layer's dynamic windows: whole numbers up to 2^24.
bool is_window_size(const std::string& tensor_name);

// storage: what tensors between kernels are stored in. accumulate: what a kernel computes in.
// operands: what the factors of a product are read as, absent: as they are stored (tf32 on tensor
// cores). Bounds allow for factors that are rounded to it and for factors that are cut.
// wide_attention: scores and probabilities never leave the accumulator type (fused attention).
// eager: every elementary operation between two tensors is rounded to `storage`, as where each is a
// call of its own (stock PyTorch without compilation); softmax and the sums of norms and products
// are in `accumulate`. Else it is fused: roundings to storage only where a tensor is handed over.
// angles: what rotation angles are formed in.
// narrow_probs: a probability is rounded to `storage` where it meets its value, whatever type it is
// kept in (attention on tensor cores).
// wide: patterns, with commas, of tensors that stay in `accumulate`, scores and probabilities
// apart; "" if there are none.
struct PrecisionSchedule {
  Precision storage = Precision::fp32;
  Precision accumulate = Precision::fp32;
  bool wide_attention = true;
  bool narrow_probs = false;
  std::optional<Precision> operands = std::nullopt;
  bool eager = false;
  Precision angles = Precision::fp64;
  std::string wide = {};

  bool operator==(const PrecisionSchedule&) const = default;

  // The type in which the named tensor is stored.
  Precision storage_of(const std::string& tensor_name) const;
  // The type in which later operations read it: narrower than the former for narrow_probs alone.
  Precision read_as(const std::string& tensor_name) const;
};

// What kernels of this storage type usually do: they accumulate in fp32 at least, tf32 reads
// factors of fp32 tensors.
PrecisionSchedule usual_schedule(Precision storage);

// The widest of the known ones, for an implementation elsewhere that does not say what it does:
// eager, scores and probabilities stored, angles in fp32.
PrecisionSchedule widest_schedule(Precision storage);

// What a dump says of its arithmetic: schedule "fused", "eager" or "" (not said: eager), angles
// "double", "float32", "storage" or "" (not said: float32). Throws InputError, beginning with
// `where`, for another word.
PrecisionSchedule declared_schedule(const std::string& where, Precision storage,
                                    const std::string& schedule, const std::string& angles);

// "eager, bf16 storage, fp32 accumulation, angles in fp32"
std::string schedule_text(const PrecisionSchedule& schedule);

}  // namespace assay::golden
