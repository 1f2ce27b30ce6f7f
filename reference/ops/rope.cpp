#include "reference/ops/rope.h"

#include "reference/ops/rules.h"

namespace assay::reference {
namespace {

double power(double base, double exponent) { return std::pow(base, exponent); }
double cosine(double angle_rad) { return std::cos(angle_rad); }
double sine(double angle_rad) { return std::sin(angle_rad); }
double arc_cosine(double x) { return std::acos(x); }
Quad power(Quad base, Quad exponent) { return powq(base, exponent); }
Quad cosine(Quad angle_rad) { return cosq(angle_rad); }
Quad sine(Quad angle_rad) { return sinq(angle_rad); }
Quad arc_cosine(Quad x) { return acosq(x); }

// theta^(-2i/Dh), scaled, for i < Dh/2, in double or quadruple precision.
template <class R>
std::vector<R> frequencies(int64_t head_dim, double theta,
                           const std::optional<golden::RopeScaling>& scaling) {
  std::vector<R> list;
  for (int64_t i = 0; i < head_dim / 2; ++i) {
    R f = power(R(theta), R(-2.0) * R(i) / R(head_dim));
    if (scaling) {
      const R turns =  // within the original context
          R(scaling->original_max_position_embeddings) * f / (R(2) * arc_cosine(R(-1)));
      const R span = R(scaling->high_freq_factor) - R(scaling->low_freq_factor);
      const R keep = std::clamp((turns - R(scaling->low_freq_factor)) / span, R(0), R(1));
      f = (R(1) - keep) * f / R(scaling->factor) + keep * f;
    }
    list.push_back(f);
  }
  return list;
}

class Rope final : public Differentiated<Rope> {
 public:
  Rope(double theta, const std::optional<golden::RopeScaling>& scaling)
      : theta_(theta), scaling_(scaling) {}
  std::string name() const override { return "rope"; }
  bool in_place() const override { return true; }
  bool gradient_reads(std::size_t) const override { return false; }

  Operand result(std::span<const Operand> in) const override {
    if (in[0].axes != "BHTD" && in[0].axes != "BGTD") expect_axes(*this, in, 0, "BHTD");
    expect_extent(*this, "odd features in a head", 0, in[0].shape[3] % 2);
    return in[0];
  }

  template <class A>
  void compute(std::span<const A> in, A& out) const {
    using X = typename A::Element;
    for_pairs<X>(out, [&](int64_t i1, int64_t i2, X c, X s) {
      const X x1 = in[0].data()[i1], x2 = in[0].data()[i2];
      out.data()[i1] = x1 * c - x2 * s;
      out.data()[i2] = x2 * c + x1 * s;
    });
  }

  // The same rotations, each row by its own position.
  void value_at(const Places& at, std::span<const Array> in, Array& out) const override {
    const int64_t heads = out.shape()[1], size = out.shape()[3], half = size / 2;
    const std::vector<double> frequency = frequencies<double>(size, theta_, scaling_);
    for_rows(at.batch * at.queries, heads * size, [&](int64_t row) {
      const int64_t b = row / at.queries, t = row % at.queries;
      const auto position = static_cast<double>(std::max<int64_t>(at.query_at(b, t), 0));
      for (int64_t i = 0; i < half; ++i) {
        const double angle_rad = position * frequency[static_cast<std::size_t>(i)];
        const double c = cosine(angle_rad), s = sine(angle_rad);
        for (int64_t head = 0; head < heads; ++head) {
          const int64_t i1 = ((b * heads + head) * at.queries + t) * size + i, i2 = i1 + half;
          const double x1 = in[0].data()[i1], x2 = in[0].data()[i2];
          out.data()[i1] = x1 * c - x2 * s;
          out.data()[i2] = x2 * c + x1 * s;
        }
      }
    });
  }

  template <class A>
  void backward(std::span<const A>, const A& out, const A& grad_out, std::span<A> grad_in) const {
    using X = typename A::Element;
    if (grad_in[0].absent()) return;
    for_pairs<X>(out, [&](int64_t i1, int64_t i2, X c, X s) {  // the rotation backwards
      const X y1 = grad_out.data()[i1], y2 = grad_out.data()[i2];
      grad_in[0].data()[i1] += y1 * c + y2 * s;
      grad_in[0].data()[i2] += y2 * c - y1 * s;
    });
  }

  void dependence(std::span<const Relation> in, Relation& out) const override {
    unite_cellwise(in, out);
  }

  // Roundings: cos and sin to the accumulator type, two products, one sum. An angle t f formed in a
  // type of unit roundoff v is off by v t f times 4 (power, inverse and product) + 3 |ln f| (of the
  // exponent, by which it is a power or an exponential), 12 more where frequencies are scaled; that
  // of a pair turns (y1, y2) by d, and moves y1 by at most |y2| min(d, 1) + |y1| min(d^2 / 2, 2).
  void error(const ErrorModel& model, std::span<const Array> in, std::span<const Array> in_error,
             const Array& out, Array& out_error) const override {
    const double rounding = step_error(model, 3);
    const std::vector<double> turned_by = angle_errors(model, out.shape()[3]);
    const auto turned = [&](double e1, double e2, double x1, double x2, double c, double s) {
      ErrorSum total(model);
      total.add(e1 * c);
      total.add(e2 * s);
      total.add(rounding * x1 * c);
      total.add(rounding * x2 * s);
      return total.result();
    };
    const int64_t size = out.shape()[3], positions = out.shape()[2];
    for_pairs(out, [&](int64_t i1, int64_t i2, double c, double s) {
      const double x1 = in[0].data()[i1], x2 = in[0].data()[i2];
      const double e1 = error_at(in_error[0], i1), e2 = error_at(in_error[0], i2);
      const double y1 = out.data()[i1], y2 = out.data()[i2];
      const auto t = static_cast<double>(i1 / size % positions);
      const double d = t * turned_by[static_cast<std::size_t>(i1 % size)];
      const double along = std::min(d, 1.0), across = std::min(model.reach * d * d / 2, 2.0);
      const auto moved = [&](double own, double y, double other) {
        ErrorSum total(model);
        total.add(own);
        total.add(2 * model.eager_least);
        total.add(std::fabs(other) * along + std::fabs(y) * across);
        return total.result();
      };
      out_error.data()[i1] = moved(turned(e1, e2, x1, x2, c, s), y1, y2);
      out_error.data()[i2] = moved(turned(e2, e1, x2, x1, c, s), y2, y1);
    });
  }

  double flops(std::span<const Operand>, const Operand& out) const override {
    return 3 * count_of(out);
  }

 private:
  // The error of an angle at position 1, for every pair of a head.
  std::vector<double> angle_errors(const ErrorModel& model, int64_t size) const {
    ErrorModel angle = model;
    angle.unit_roundoff = model.angle_roundoff;
    std::vector<double> list = frequencies<double>(size, theta_, scaling_);
    for (double& f : list) {
      f *= chain_error(angle, 4 + 3 * std::fabs(std::log(f)) + (scaling_ ? 12 : 0));
    }
    return list;
  }

  // cos and sin of an angle that is off, themselves rounded.
  static void blur(Uncertain& c, Uncertain& s, double turn) {
    const double rounding = step_error(*uncertain_rule().model, 1);
    const double cosine = c.value, sine = s.value;
    c.variance = std::pow(turn * sine, 2) + std::pow(rounding * cosine, 2);
    s.variance = std::pow(turn * cosine, 2) + std::pow(rounding * sine, 2);
  }

  // body(index in the first half, index in the second half, cos, sin)
  template <class X = double, class A, class Body>
  void for_pairs(const A& like, Body&& body) const {
    using Angle = std::conditional_t<std::is_same_v<X, DoubleDouble>, Quad, double>;
    const int64_t positions = like.shape()[2], size = like.shape()[3], half = size / 2;
    const std::vector<Angle> frequency = frequencies<Angle>(size, theta_, scaling_);
    std::vector<double> turned_by;
    if constexpr (std::is_same_v<X, Uncertain>) {
      turned_by = angle_errors(*uncertain_rule().model, size);
    }
    for_rows<X>(positions, like.size() / positions, [&](int64_t t) {
      for (int64_t i = 0; i < half; ++i) {
        const Angle angle_rad = static_cast<Angle>(t) * frequency[static_cast<std::size_t>(i)];
        X c(cosine(angle_rad)), s(sine(angle_rad));
        if constexpr (std::is_same_v<X, Uncertain>) {
          blur(c, s, static_cast<double>(t) * turned_by[static_cast<std::size_t>(i)]);
        }
        for (int64_t head = 0; head < like.size() / (positions * size); ++head) {
          const int64_t first = (head * positions + t) * size;
          body(first + i, first + half + i, c, s);
        }
      }
    });
  }

  double theta_;
  std::optional<golden::RopeScaling> scaling_;
};

}  // namespace

std::vector<double> rope_frequencies(int64_t head_dim, double theta,
                                     const std::optional<golden::RopeScaling>& scaling) {
  return frequencies<double>(head_dim, theta, scaling);
}

Node rope(Node x, double theta, const std::optional<golden::RopeScaling>& scaling) {
  return x.graph->add(std::make_shared<Rope>(theta, scaling), {x});
}

}  // namespace assay::reference
