#include "verify/training/statistics.h"

#include <algorithm>
#include <cmath>
#include <limits>

namespace assay::verify::training {
namespace {

struct Piece {
  double sum = 0;
  double tokens = 0;
};

// Blocks of `length` tokens, none over the end of a row.
std::vector<Piece> pieces_of(std::span<const double> values, std::span<const uint8_t> counted,
                             int64_t positions, int64_t length) {
  std::vector<Piece> pieces;
  const int64_t per_row = std::max<int64_t>(1, positions / length);
  for (std::size_t i = 0; i < values.size(); ++i) {
    const auto t = static_cast<int64_t>(i) % positions;
    const int64_t block = std::min(t / length, per_row - 1);
    const auto piece =
        static_cast<std::size_t>(static_cast<int64_t>(i) / positions * per_row + block);
    if (piece >= pieces.size()) pieces.resize(piece + 1);
    if (counted[i] == 0) continue;
    pieces[piece].sum += values[i];
    pieces[piece].tokens += 1;
  }
  std::erase_if(pieces, [](const Piece& piece) { return piece.tokens == 0; });
  return pieces;
}

// Of a ratio of sums over pieces.
Mean mean_of_pieces(const std::vector<Piece>& pieces) {
  constexpr std::size_t kFewest = 8;
  double sum = 0, tokens = 0, square = 0;
  for (const Piece& piece : pieces) {
    sum += piece.sum;
    tokens += piece.tokens;
  }
  Mean mean{tokens > 0 ? sum / tokens : 0, 0, 0, static_cast<int64_t>(tokens)};
  if (pieces.size() < kFewest) return mean;
  for (const Piece& piece : pieces) {
    const double rest = piece.sum - mean.value * piece.tokens;
    square += rest * rest;
  }
  const auto n = static_cast<double>(pieces.size());
  mean.error = std::sqrt(n / (n - 1) * square) / tokens;
  mean.freedom = static_cast<int64_t>(pieces.size()) - 1;
  return mean;
}

// Continued fraction of the incomplete beta function (Press et al., Numerical Recipes, 6.4).
double beta_fraction(double a, double b, double x) {
  constexpr double kTiny = 1e-300;
  double c = 1, d = 1 - (a + b) * x / (a + 1);
  d = 1 / (std::abs(d) < kTiny ? kTiny : d);
  double h = d;
  for (int m = 1; m < 500; ++m) {
    const double even = m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m));
    d = 1 / std::max(kTiny, 1 + even * d);
    c = std::max(kTiny, 1 + even / c);
    h *= d * c;
    const double odd = -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1));
    d = 1 + odd * d;
    d = 1 / (std::abs(d) < kTiny ? kTiny : d);
    c = 1 + odd / c;
    if (std::abs(c) < kTiny) c = kTiny;
    h *= d * c;
    if (std::abs(d * c - 1) < 1e-14) break;
  }
  return h;
}

// P(T > t) for t > 0 of Student's law: half the incomplete beta of x = n / (n + t^2).
double student_tail(double t, double n) {
  const double x = n / (n + t * t), a = n / 2, b = 0.5;
  const double front = std::exp(std::lgamma(a + b) - std::lgamma(a) - std::lgamma(b) +
                                a * std::log(x) + b * std::log1p(-x));
  const double value = x < (a + 1) / (a + b + 2) ? front * beta_fraction(a, b, x) / a
                                                 : 1 - front * beta_fraction(b, a, 1 - x) / b;
  return value / 2;
}

// Upper tail of the normal law beyond z.
double normal_tail(double z) { return 0.5 * std::erfc(z / std::sqrt(2.0)); }

}  // namespace

Mean mean_of(std::span<const double> values, std::span<const uint8_t> counted, int64_t positions) {
  constexpr int64_t kRows = 16, kShortest = 16;
  const int64_t rows = positions > 0 ? static_cast<int64_t>(values.size()) / positions : 0;
  const Mean by_rows = mean_of_pieces(
      pieces_of(values, counted, std::max<int64_t>(positions, 1), std::max<int64_t>(positions, 1)));
  if (rows >= kRows || positions < 2 * kShortest) return by_rows;
  Mean result = by_rows;
  for (const int64_t wanted : {16, 32}) {
    const int64_t length = std::max(kShortest, static_cast<int64_t>(values.size()) / wanted);
    const Mean blocks = mean_of_pieces(pieces_of(values, counted, positions, length));
    if (blocks.has_error() && (!result.has_error() || blocks.error > result.error)) result = blocks;
  }
  return result;
}

// Welch's degrees of freedom.
Mean difference(const Mean& a, const Mean& b) {
  Mean d{a.value - b.value, std::hypot(a.error, b.error), 0, std::min(a.tokens, b.tokens)};
  if (!a.has_error() || !b.has_error()) return d;
  const double va = a.error * a.error, vb = b.error * b.error;
  const double down =
      va * va / static_cast<double>(a.freedom) + vb * vb / static_cast<double>(b.freedom);
  d.freedom = down > 0 ? std::max<int64_t>(1, static_cast<int64_t>((va + vb) * (va + vb) / down))
                       : std::min(a.freedom, b.freedom);
  return d;
}

double sigmas_of(double sigmas, int64_t freedom) {
  if (freedom <= 0) return std::numeric_limits<double>::infinity();
  const double tail = normal_tail(sigmas);
  double low = sigmas, high = 1e6;
  for (int i = 0; i < 200 && high - low > 1e-9 * high; ++i) {
    const double middle = std::sqrt(low * high);
    (student_tail(middle, static_cast<double>(freedom)) > tail ? low : high) = middle;
  }
  return high;
}

double median(std::vector<double> values) {
  if (values.empty()) return std::numeric_limits<double>::quiet_NaN();
  const auto middle = values.begin() + static_cast<int64_t>(values.size() / 2);
  std::nth_element(values.begin(), middle, values.end());
  if (values.size() % 2 == 1) return *middle;
  return (*middle + *std::max_element(values.begin(), middle)) / 2;
}

double median_distance(const std::vector<double>& values) {
  const double centre = median(values);
  std::vector<double> distances;
  for (const double value : values) distances.push_back(std::abs(value - centre));
  return values.empty() ? 0 : 1.4826 * median(distances);
}

double noise_of(std::span<const double> values) {
  std::vector<double> second;  // differences, in which a straight trend vanishes
  for (std::size_t i = 2; i < values.size(); ++i) {
    const double d = values[i] - 2 * values[i - 1] + values[i - 2];
    if (std::isfinite(d)) second.push_back(d);
  }
  return second.empty() ? 0 : median_distance(second) / std::sqrt(6.0);
}

// A jump disturbs three blocks' worth of the second differences, a third of them at most: their
// median absolute distance then is still that of the others.
double error_of_means(std::span<const double> values, std::size_t width) {
  constexpr std::size_t kFewestBlocks = 12;
  const std::size_t n = values.size();
  const auto wide = static_cast<double>(width);
  double most = noise_of(values) / std::sqrt(wide);
  std::vector<double> sums{0};
  for (const double value : values) sums.push_back(sums.back() + value);
  for (std::size_t block = 2; block * kFewestBlocks <= n; block += (block + 1) / 2) {
    const auto length = static_cast<double>(block);
    std::vector<double> second;
    const std::size_t stride = std::max<std::size_t>(1, block / 8);
    for (std::size_t i = 0; i + 3 * block <= n; i += stride) {
      const double first = sums[i + block] - sums[i];
      const double middle = sums[i + 2 * block] - sums[i + block];
      second.push_back((sums[i + 3 * block] - sums[i + 2 * block] - 2 * middle + first) / length);
    }
    // Of few blocks, the spread is less certain.
    const double few = 1 + 3 * length / static_cast<double>(n);
    const double of_block = few * median_distance(second) / std::sqrt(6.0);
    most = std::max(most, of_block * std::sqrt(std::min(1.0, length / wide)));
  }
  return most;
}

}  // namespace assay::verify::training
