// Means with errors that allow for tokens of one row going together.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

namespace assay::verify::training {

// A mean, its standard error, and from how many independent pieces that is known.
struct Mean {
  double value = 0;
  double error = 0;
  int64_t freedom = 0;  // degrees; 0: the error is unknown
  int64_t tokens = 0;

  bool has_error() const { return freedom > 0; }
};

// The pieces are rows; of fewer than 16 rows, blocks of the rows, of 16 tokens or more, in two
// sizes, of which the larger error counts. counted[i] = 0 leaves a value out.
Mean mean_of(std::span<const double> values, std::span<const uint8_t> counted, int64_t positions);

// a - b of independent means.
Mean difference(const Mean& a, const Mean& b);

inline constexpr double kSigmas = 4.9;  // two-sided normal quantile of 1e-6

// The factor of an error that is known from so few degrees of freedom which is exceeded as rarely
// as `sigmas` standard deviations of a normal law are: Student's t. Infinite without freedom.
double sigmas_of(double sigmas, int64_t freedom);

double median(std::vector<double> values);
// 1.4826 x the median distance from the median: a standard deviation, of a normal law.
double median_distance(const std::vector<double>& values);
// Of what is left of a curve when its trend is taken away: from differences of neighbours.
double noise_of(std::span<const double> values);
// Standard error of a mean of `width` neighbours, of values that may go together: the largest of
// what means of 1, 2, .. neighbours scatter by, up to a twelfth of the curve.
double error_of_means(std::span<const double> values, std::size_t width);

}  // namespace assay::verify::training
