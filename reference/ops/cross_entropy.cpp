#include "reference/ops/cross_entropy.h"

#include "reference/ops/rules.h"

namespace assay::reference {
namespace {

class CrossEntropy final : public Differentiated<CrossEntropy> {
 public:
  // Position t predicts label t + ahead; ahead is 0 or 1.
  explicit CrossEntropy(int64_t ahead) : ahead_(ahead) {}
  std::string name() const override {
    return ahead_ == 0 ? "cross_entropy_in_place" : "cross_entropy";
  }

  Operand result(std::span<const Operand> in) const override {
    expect_axes(*this, in, 0, "BTD");
    expect_axes(*this, in, 1, "BT");
    expect_extent(*this, "positions of labels", in[0].shape[1], in[1].shape[1]);
    return {{}, ""};
  }

  bool streams() const override { return false; }  // rows are counted over the whole sequence

  template <class A>
  void compute(std::span<const A> in, A& out) const {
    using X = typename A::Element;
    const std::vector<Target> targets = counted(in);
    const int64_t vocab = in[0].shape()[2];
    std::vector<X> losses(targets.size());
    for_rows<X>(static_cast<int64_t>(targets.size()), 8 * vocab, [&](int64_t i) {
      const Target& target = targets[static_cast<std::size_t>(i)];
      const X* z = in[0].data() + target.row * vocab;
      losses[static_cast<std::size_t>(i)] = log_sum_exp(z, vocab) - z[target.label];
    });
    X total = 0;
    for (const X& loss : losses) total += loss;
    out.data()[0] = targets.empty() ? X(0.0) : total / X(static_cast<double>(targets.size()));
  }

  // dz_v = (softmax(z)_v - [v = y]) / count
  template <class A>
  void backward(std::span<const A> in, const A&, const A& grad_out, std::span<A> grad_in) const {
    using X = typename A::Element;
    using std::exp;
    if (!grad_in[1].absent()) throw NotDifferentiable(name() + ": labels are whole numbers");
    if (grad_in[0].absent()) return;
    const std::vector<Target> targets = counted(in);
    const int64_t vocab = in[0].shape()[2];
    const X weight = grad_out.data()[0] / X(static_cast<double>(targets.size()));
    for_rows<X>(static_cast<int64_t>(targets.size()), 8 * vocab, [&](int64_t i) {
      const Target& target = targets[static_cast<std::size_t>(i)];
      const X* z = in[0].data() + target.row * vocab;
      X* dz = grad_in[0].data() + target.row * vocab;
      const X normaliser = log_sum_exp(z, vocab);
      for (int64_t v = 0; v < vocab; ++v) {
        dz[v] += weight * moved_at_most(exp(z[v] - normaliser), 1);
      }
      dz[target.label] -= weight;
    });
  }

  // One ahead, the logits of the last position and the label of the first one are never read.
  void dependence(std::span<const Relation> in, Relation& out) const override {
    const int64_t positions = in[1].cell_shape()[1];
    for (int64_t cell = 0; cell < in[1].cells(); ++cell) {
      if (cell % positions < positions - ahead_) out.unite(0, in[0], cell);
      if (cell % positions >= ahead_) out.unite(0, in[1], cell);
    }
  }

  // A log-sum-exp moves by at most the largest error of its row; its own rounding is that of a sum
  // of V exponentials, of the exponents and of the logarithm. The mean is a sum of count terms.
  void error(const ErrorModel& model, std::span<const Array> in, std::span<const Array> in_error,
             const Array& out, Array& out_error) const override {
    const std::vector<Target> targets = counted(in);
    const int64_t vocab = in[0].shape()[2];
    const auto count = static_cast<double>(targets.size());
    ErrorSum total(model);
    for (const Target& target : targets) {
      const double* z = in[0].data() + target.row * vocab;
      double input = 0, magnitude = 0;
      for (int64_t v = 0; v < vocab; ++v) {
        const double e = error_at(in_error[0], target.row * vocab + v);
        if (!(e <= input)) input = e;  // a NaN stays
        magnitude = std::max(magnitude, std::fabs(z[v]));
      }
      total.add(2 * input / count);
      total.add(chain_error(model, static_cast<double>(vocab) + 6) / count);
      total.add(chain_error(model, 4) * (magnitude + std::log(static_cast<double>(vocab))) / count);
    }
    total.add(chain_error(model, count + 1) * out.data()[0]);
    out_error.data()[0] = total.result();
  }

  double flops(std::span<const Operand> in, const Operand&) const override {
    return 3 * count_of(in[0]);
  }

 private:
  struct Target {
    int64_t row;    // b*T + t
    int64_t label;  // labels[b,t+ahead]
  };

  template <class A>
  std::vector<Target> counted(std::span<const A> in) const {
    const int64_t positions = in[1].shape()[1], vocab = in[0].shape()[2];
    std::vector<Target> targets;
    for (int64_t row = 0; row < in[1].size(); ++row) {
      if (row % positions >= positions - ahead_) continue;
      const double label = to_double(in[1].data()[row + ahead_]);
      if (label == -100) continue;
      if (!(label >= 0 && label < static_cast<double>(vocab)) || label != std::floor(label)) {
        throw InputError(name() + ": label " + std::to_string(label) + ": expected -100 or 0 .. " +
                         std::to_string(vocab - 1));
      }
      targets.push_back({row, static_cast<int64_t>(label)});
    }
    return targets;
  }

  template <class X>
  static X log_sum_exp(const X* z, int64_t vocab) {
    using std::exp, std::log;
    X most = z[0];
    for (int64_t v = 1; v < vocab; ++v) most = to_double(z[v]) > to_double(most) ? z[v] : most;
    X total = 0;
    for (int64_t v = 0; v < vocab; ++v) total += exp(z[v] - most);
    return most + log(total);
  }

  int64_t ahead_;
};

}  // namespace

Node cross_entropy(Node logits, Node labels) {
  return logits.graph->add(std::make_shared<CrossEntropy>(1), {logits, labels});
}

Node cross_entropy_in_place(Node logits, Node labels) {
  return logits.graph->add(std::make_shared<CrossEntropy>(0), {logits, labels});
}

}  // namespace assay::reference
