// decode: what a cache gives, position by position, is what a whole run gives. A stale cache, a
// wrong position, one that is not emptied: each is off by more than rounding.
#include <fmt/format.h>

#include <algorithm>

#include "golden/contract/error.h"
#include "verify/decoders/batches.h"
#include "verify/decoders/common.h"
#include "verify/decoders/detect.h"

namespace assay::verify {
namespace {

// A cache as a subject: a run appends its tokens.
class Cache : public Subject {
 public:
  Cache(Subject& subject, const Recording& whole) : subject_(subject), whole_(whole) {}
  std::string describe() const override { return subject_.describe(); }
  Capabilities capabilities() const override { return {.can_run = true}; }
  golden::PrecisionSchedule precision() const override { return subject_.precision(); }
  golden::DType dtype_of(const std::string& name) const override { return subject_.dtype_of(name); }
  // The last position alone, without an axis for it, gets one.
  void run(const Batch& batch, const Forced&, const Receive& receive) override {
    subject_.decode(batch, [&](Observed observed) {
      const std::size_t i = index_of(whole_, observed.name);
      if (i < whole_.tensors()) {
        golden::Shape& shape = observed.tensor.shape;
        const std::size_t axis = whole_.layout(i).axes.find('T');
        const bool lacks_one = shape.size() + 1 == whole_.tensor(i).tensor.shape.size();
        if (lacks_one && axis != std::string::npos && axis <= shape.size()) {
          shape.insert(shape.begin() + static_cast<int64_t>(axis), 1);
        }
      }
      receive(std::move(observed));
    });
  }

 private:
  Subject& subject_;
  const Recording& whole_;
};

// Sizes of the pieces in which n positions are appended.
struct Schedule {
  const char* what;
  std::vector<int64_t> pieces;
};

std::vector<Schedule> schedules(int64_t n) {
  std::vector<int64_t> behind{n / 2}, growing;
  behind.insert(behind.end(), static_cast<std::size_t>(n - n / 2), 1);
  for (int64_t done = 0, size = 1; done < n; done += size, ++size) {
    size = std::min(size, n - done);
    growing.push_back(size);
  }
  return {{"one by one", std::vector<int64_t>(static_cast<std::size_t>(n), 1)},
          {"behind a prompt", behind},
          {"in growing pieces", growing}};
}

struct Worst {
  double size = -1;
  Apart at;
  std::string what;
};

// Every tensor's position that is furthest off, by tensor.
void decode_in(const Decoder& decoder, const Schedule& schedule, std::vector<Worst>& worst) {
  Experiment& experiment = decoder.experiment;
  const Recording& base = experiment.base();
  Cache cache(experiment.subject(), base);
  experiment.subject().reset(experiment.batch().batch, experiment.batch().positions);
  int64_t done = 0;
  for (const int64_t count : schedule.pieces) {
    const Recording piece = experiment.record(cache, part_of(experiment.batch(), done, count));
    Within within = same_rows(experiment.batch().batch);
    within.shift = done;
    within.last_alone = true;
    for (const Apart& at : positions_apart(base, piece, within)) {
      const double size = decoder.beyond_noise(at);
      if (size > worst[at.index].size) worst[at.index] = {size, at, schedule.what};
    }
    done += count;
  }
}

}  // namespace

Check detect_decode(const Decoder& decoder) {
  Experiment& experiment = decoder.experiment;
  const Recording& base = experiment.base();
  Check check{.name = "decode", .status = Status::pass, .summary = "", .details = {}, .seconds = 0};
  std::vector<Worst> worst(base.tensors());
  for (const Schedule& schedule : schedules(experiment.batch().positions)) {
    decode_in(decoder, schedule, worst);
  }
  double most = 0;
  int64_t compared = 0;
  for (const Worst& tensor : worst) {
    if (tensor.size < 0) continue;
    ++compared;
    most = std::max(most, tensor.size);
    const Size size = size_of(decoder.rounding, tensor.size);
    if (size == Size::rounding || (size == Size::doubtful && check.status != Status::pass))
      continue;
    check.status = size == Size::large ? Status::fail : Status::inconclusive;
    check.summary = fmt::format(
        "{}: row {}, position {} is off by {:.2g} of its size when it is "
        "decoded {}",
        base.name(tensor.at.index), tensor.at.row, tensor.at.position, tensor.size, tensor.what);
    if (size == Size::large) return check;
  }
  if (check.status != Status::pass) {
    check.details.push_back(doubtful_text(decoder.rounding));
  } else if (compared == 0) {
    check.status = Status::inconclusive;
    check.summary = "decoding hands over no tensor that a whole run has too";
  } else {
    check.summary = fmt::format(
        "{} tensors decoded one by one, behind a prompt and in growing pieces are those of a whole "
        "run: within {:.2g} of the largest value, allowed {:.2g}",
        compared, most, decoder.rounding.whole);
  }
  return check;
}

}  // namespace assay::verify
