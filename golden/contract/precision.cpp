#include "golden/contract/precision.h"

#include <algorithm>
#include <array>
#include <cmath>

#include "golden/contract/error.h"
#include "golden/contract/names.h"

namespace assay::golden {

namespace {

struct Format {
  Precision precision;
  const char* name;
  int significant_bits;  // the hidden one included
  int least_exponent;    // of a normal number
  double largest;
};

constexpr std::array<Format, 5> kFormats{{
    {Precision::fp64, "fp64", 53, -1022, 0x1.fffffffffffffp1023},
    {Precision::fp32, "fp32", 24, -126, 0x1.fffffep127},
    {Precision::tf32, "tf32", 11, -126, 0x1.ffcp127},
    {Precision::bf16, "bf16", 8, -126, 0x1.fep127},
    {Precision::fp16, "fp16", 11, -14, 0x1.ffcp15},
}};

const Format& format(Precision precision) {
  const Format& found = kFormats[static_cast<std::size_t>(precision)];
  ASSAY_CHECK(found.precision == precision, found.name);
  return found;
}

}  // namespace

Precision parse_precision(const std::string& text) {
  for (const Format& known : kFormats) {
    if (text == known.name) return known.precision;
  }
  throw InputError("--precision " + text +
                   ": no such precision; have fp64, fp32, tf32, bf16, fp16");
}

std::string precision_name(Precision precision) { return format(precision).name; }

double unit_roundoff(Precision precision) {
  return std::ldexp(1.0, -format(precision).significant_bits);
}

double spacing(Precision precision, double x) {
  const Format& f = format(precision);
  const int exponent = x == 0 || !std::isfinite(x) ? f.least_exponent : std::ilogb(x);
  return std::ldexp(1.0, std::max(exponent, f.least_exponent) - f.significant_bits + 1);
}

double smallest(Precision precision) { return spacing(precision, 0); }

double smallest_normal(Precision precision) {
  return std::ldexp(1.0, format(precision).least_exponent);
}

double largest(Precision precision) { return format(precision).largest; }

double round_to(Precision precision, double x) {
  if (precision == Precision::fp64) return x;
  if (precision == Precision::fp32) return static_cast<float>(x);
  if (!std::isfinite(x)) return x;
  const double step = spacing(precision, x);
  const double nearest = std::nearbyint(x / step) * step;  // both exact: step is a power of two
  return std::fabs(nearest) > format(precision).largest ? std::copysign(INFINITY, x) : nearest;
}

bool is_attention_matrix(const std::string& tensor_name) {
  if (!tensor_name.starts_with("pt/")) {
    return tensor_name.ends_with("attn/scores") || tensor_name.ends_with("attn/probs");
  }
  const std::string in_round = tensor_name.substr(tensor_name.find('/', 3) + 1);  // "heads/1"
  const std::string tensor = in_round.substr(0, in_round.find('/'));
  return tensor == "scores" || tensor == "heads";
}

bool is_window_size(const std::string& tensor_name) { return tensor_name.ends_with("attn/window"); }

Precision PrecisionSchedule::storage_of(const std::string& tensor_name) const {
  const bool attention = is_attention_matrix(tensor_name);
  // The loss is a reduction, and the sizes of windows are whole numbers that 16 bits do not hold:
  // they are handed over in the accumulator type.
  const bool stays = !wide.empty() && matches(wide, tensor_name);
  return (attention && wide_attention) || stays || tensor_name == "loss" ||
                 is_window_size(tensor_name)
             ? accumulate
             : storage;
}

Precision PrecisionSchedule::read_as(const std::string& tensor_name) const {
  return narrow_probs && tensor_name.ends_with("attn/probs") ? storage : storage_of(tensor_name);
}

PrecisionSchedule usual_schedule(Precision storage) {
  PrecisionSchedule schedule{.storage = storage, .accumulate = Precision::fp32};
  if (storage == Precision::fp64) schedule.accumulate = Precision::fp64;
  if (storage == Precision::tf32) {
    schedule.storage = Precision::fp32;
    schedule.operands = Precision::tf32;
  }
  return schedule;
}

PrecisionSchedule widest_schedule(Precision storage) {
  return declared_schedule("", storage, "", "");
}

PrecisionSchedule declared_schedule(const std::string& where, Precision storage,
                                    const std::string& schedule, const std::string& angles) {
  PrecisionSchedule declared = usual_schedule(storage);
  declared.wide_attention = false;
  declared.eager = schedule != "fused";
  if (!schedule.empty() && schedule != "fused" && schedule != "eager") {
    throw InputError(where + ": schedule: expected fused or eager, got " + schedule);
  }
  if (angles == "double") {
    declared.angles = Precision::fp64;
  } else if (angles == "storage") {
    declared.angles = declared.storage;
  } else if (angles.empty() || angles == "float32") {
    declared.angles = Precision::fp32;
  } else {
    throw InputError(where + ": angles: expected double, float32 or storage, got " + angles);
  }
  return declared;
}

std::string schedule_text(const PrecisionSchedule& schedule) {
  return std::string(schedule.eager ? "eager" : "fused") + ", " + precision_name(schedule.storage) +
         " storage, " + precision_name(schedule.accumulate) + " accumulation, angles in " +
         precision_name(schedule.angles);
}

}  // namespace assay::golden
