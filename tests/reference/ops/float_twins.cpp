#include "tests/reference/ops/float_twins.h"

#include <algorithm>
#include <cmath>

namespace assay::reference::testing {
namespace {

std::size_t extent(const FloatTensor& tensor, std::size_t axis) {
  return static_cast<std::size_t>(tensor.shape[axis]);
}

}  // namespace

std::vector<float> float_add(const std::vector<FloatTensor>& in) {
  std::vector<float> y = in[0].values;
  for (std::size_t term = 1; term < in.size(); ++term) {
    for (std::size_t i = 0; i < y.size(); ++i) y[i] += in[term].values[i];
  }
  return y;
}

std::vector<float> float_add_positions(const std::vector<FloatTensor>& in) {
  const FloatTensor &x = in[0], &w = in[1];  // [B,T,D] [P,D]
  const std::size_t T = extent(x, 1), D = extent(x, 2);
  std::vector<float> y = x.values;
  for (std::size_t i = 0; i < y.size(); ++i) y[i] += w.values[i / D % T * D + i % D];
  return y;
}

std::vector<float> float_attend(const std::vector<FloatTensor>& in) {
  const FloatTensor &p = in[0], &v = in[1];  // [B,H,T,S] [B,Hkv,S,Dh]
  const std::size_t B = extent(p, 0), H = extent(p, 1), T = extent(p, 2), S = extent(p, 3);
  const std::size_t Hkv = extent(v, 1), Dh = extent(v, 3);
  std::vector<float> y(B * T * H * Dh, 0.0f);
  for (std::size_t b = 0; b < B; ++b) {
    for (std::size_t h = 0; h < H; ++h) {
      const std::size_t g = h / (H / Hkv);
      for (std::size_t t = 0; t < T; ++t) {
        for (std::size_t d = 0; d < Dh; ++d) {
          float& sum = y[((b * T + t) * H + h) * Dh + d];
          for (std::size_t s = 0; s < S; ++s) {
            sum += p.values[((b * H + h) * T + t) * S + s] *
                   v.values[((b * Hkv + g) * S + s) * Dh + d];
          }
        }
      }
    }
  }
  return y;
}

std::vector<float> float_attend_back(const std::vector<FloatTensor>& in) {
  const FloatTensor &p = in[0], &q = in[1];  // [B,H,T,S] [B,H,T,Dh]
  const std::size_t H = extent(p, 1), T = extent(p, 2), S = extent(p, 3), Dh = extent(q, 3);
  std::vector<float> y(extent(p, 0) * S * H * Dh, 0.0f);
  for (std::size_t row = 0; row < p.values.size() / S; ++row) {  // row = (b*H + h)*T + t
    const std::size_t b = row / T / H, h = row / T % H;
    for (std::size_t s = 0; s < S; ++s) {
      for (std::size_t d = 0; d < Dh; ++d) {
        y[((b * S + s) * H + h) * Dh + d] += p.values[row * S + s] * q.values[row * Dh + d];
      }
    }
  }
  return y;
}

std::vector<float> float_cross_entropy(const std::vector<FloatTensor>& in) {
  const FloatTensor &z = in[0], &labels = in[1];  // [B,T,V] [B,T]
  const std::size_t T = extent(z, 1), V = extent(z, 2);
  float total = 0.0f, count = 0.0f;
  for (std::size_t row = 0; row < labels.values.size(); ++row) {
    if (row % T == T - 1 || labels.values[row + 1] == -100.0f) continue;
    const float* logits = z.values.data() + row * V;
    float most = logits[0], sum = 0.0f;
    for (std::size_t v = 1; v < V; ++v) most = std::fmax(most, logits[v]);
    for (std::size_t v = 0; v < V; ++v) sum += std::exp(logits[v] - most);
    total += most + std::log(sum) - logits[static_cast<std::size_t>(labels.values[row + 1])];
    count += 1.0f;
  }
  return {count == 0.0f ? 0.0f : total / count};
}

FloatTwin float_gelu(Gelu form) {
  return [form](const std::vector<FloatTensor>& in) {
    std::vector<float> y;
    for (const float x : in[0].values) {
      const float odd = form == Gelu::exact
                            ? std::erf(x * 0.70710678f)
                            : std::tanh(0.79788456f * (x + 0.044715f * (x * x * x)));
      y.push_back(0.5f * x * (1.0f + odd));
    }
    return y;
  };
}

// Scale and shift folded into one multiply-add, as some kernels do: x inverse + (-mean inverse).
FloatTwin float_layer_norm(double eps) {
  return [eps](const std::vector<FloatTensor>& in) {
    const std::size_t D = extent(in[1], 0);
    const auto count = static_cast<float>(D);
    std::vector<float> y(in[0].values.size());
    for (std::size_t row = 0; row < y.size() / D; ++row) {
      const float* x = in[0].values.data() + row * D;
      float sum = 0.0f, squares = 0.0f;
      for (std::size_t d = 0; d < D; ++d) sum += x[d];
      const float mean = sum / count;
      for (std::size_t d = 0; d < D; ++d) squares += (x[d] - mean) * (x[d] - mean);
      const float inverse = 1.0f / std::sqrt(squares / count + static_cast<float>(eps));
      const float shift = -mean * inverse;
      for (std::size_t d = 0; d < D; ++d) {
        y[row * D + d] = (x[d] * inverse + shift) * in[1].values[d] + in[2].values[d];
      }
    }
    return y;
  };
}

std::vector<float> float_linear(const std::vector<FloatTensor>& in) {
  const FloatTensor &x = in[0], &w = in[1];  // [B,T,K] [N,K]
  const std::size_t N = extent(w, 0), K = extent(w, 1), rows = x.values.size() / K;
  std::vector<float> y(rows * N, 0.0f);
  for (std::size_t row = 0; row < rows; ++row) {
    for (std::size_t n = 0; n < N; ++n) {
      for (std::size_t k = 0; k < K; ++k) {
        y[row * N + n] += x.values[row * K + k] * w.values[n * K + k];
      }
    }
  }
  return y;
}

std::vector<float> float_linear_back(const std::vector<FloatTensor>& in) {
  const FloatTensor &x = in[0], &w = in[1];  // [B,T,N] [N,K]
  const std::size_t N = extent(w, 0), K = extent(w, 1), rows = x.values.size() / N;
  std::vector<float> y(rows * K, 0.0f);
  for (std::size_t row = 0; row < rows; ++row) {
    for (std::size_t n = 0; n < N; ++n) {
      for (std::size_t k = 0; k < K; ++k) {
        y[row * K + k] += x.values[row * N + n] * w.values[n * K + k];
      }
    }
  }
  return y;
}

// The bias comes first: every sum starts from it.
FloatTwin float_linear_with_bias(WeightLayout layout, Columns columns) {
  return [=](const std::vector<FloatTensor>& in) {
    const FloatTensor &x = in[0], &w = in[1], &b = in[2];  // [B,T,K] [N,K] or [K,N] [N]
    const std::size_t K = extent(x, 2), N = extent(b, 0), rows = x.values.size() / K;
    const bool out_in = layout == WeightLayout::out_in;
    std::vector<float> y;
    for (std::size_t row = 0; row < rows; ++row) {
      for (int64_t column = 0; column < columns.count; ++column) {
        const auto n = static_cast<std::size_t>(columns.first + column);
        float sum = b.values[n];
        for (std::size_t k = 0; k < K; ++k) {
          sum += x.values[row * K + k] * w.values[out_in ? n * K + k : k * N + n];
        }
        y.push_back(sum);
      }
    }
    return y;
  };
}

FloatTwin float_rms_norm(double eps) {
  return [eps](const std::vector<FloatTensor>& in) {
    const std::size_t D = extent(in[1], 0);
    std::vector<float> y(in[0].values.size());
    for (std::size_t row = 0; row < y.size() / D; ++row) {
      const float* x = in[0].values.data() + row * D;
      float squares = 0.0f;
      for (std::size_t d = 0; d < D; ++d) squares += x[d] * x[d];
      const float inverse =
          1.0f / std::sqrt(squares / static_cast<float>(D) + static_cast<float>(eps));
      for (std::size_t d = 0; d < D; ++d) y[row * D + d] = x[d] * inverse * in[1].values[d];
    }
    return y;
  };
}

FloatTwin float_rope(double theta) {
  return [theta](const std::vector<FloatTensor>& in) {
    const FloatTensor& x = in[0];  // [B,n,T,Dh]
    const std::size_t T = extent(x, 2), Dh = extent(x, 3), half = Dh / 2;
    std::vector<float> y(x.values.size());
    for (std::size_t row = 0; row < y.size() / Dh; ++row) {
      for (std::size_t i = 0; i < half; ++i) {
        const double angle_rad = static_cast<double>(row % T) *
                                 std::pow(theta, -2.0 * static_cast<double>(i) / double(Dh));
        const auto c = static_cast<float>(std::cos(angle_rad));
        const auto s = static_cast<float>(std::sin(angle_rad));
        const float x1 = x.values[row * Dh + i], x2 = x.values[row * Dh + half + i];
        y[row * Dh + i] = x1 * c - x2 * s;
        y[row * Dh + half + i] = x2 * c + x1 * s;
      }
    }
    return y;
  };
}

FloatTwin float_scale(double factor) {
  return [factor](const std::vector<FloatTensor>& in) {
    std::vector<float> y;
    for (const float x : in[0].values) y.push_back(static_cast<float>(factor) * x);
    return y;
  };
}

std::vector<float> float_query_bias(const std::vector<FloatTensor>& in) {
  const std::size_t T = extent(in[0], 2), S = extent(in[0], 3);
  std::vector<float> y = in[0].values;
  for (std::size_t i = 0; i < y.size(); ++i) y[i] += in[1].values[i / S % T];
  return y;
}

std::vector<float> float_scores(const std::vector<FloatTensor>& in) {
  const FloatTensor &q = in[0], &k = in[1];  // [B,H,T,Dh] [B,Hkv,S,Dh]
  const std::size_t B = extent(q, 0), H = extent(q, 1), T = extent(q, 2), Dh = extent(q, 3);
  const std::size_t Hkv = extent(k, 1), S = extent(k, 2);
  std::vector<float> y(B * H * T * S, 0.0f);
  for (std::size_t b = 0; b < B; ++b) {
    for (std::size_t h = 0; h < H; ++h) {
      const std::size_t g = h / (H / Hkv);
      for (std::size_t t = 0; t < T; ++t) {
        for (std::size_t s = 0; s < S; ++s) {
          float& sum = y[((b * H + h) * T + t) * S + s];
          for (std::size_t d = 0; d < Dh; ++d) {
            sum += q.values[((b * H + h) * T + t) * Dh + d] *
                   k.values[((b * Hkv + g) * S + s) * Dh + d];
          }
        }
      }
    }
  }
  return y;
}

std::vector<float> float_softmax(const std::vector<FloatTensor>& in) {
  const std::size_t S = static_cast<std::size_t>(in[0].shape.back());
  std::vector<float> p(in[0].values.size(), 0.0f);
  for (std::size_t row = 0; row < p.size() / S; ++row) {
    const float* x = in[0].values.data() + row * S;
    float most = -INFINITY, total = 0.0f;
    for (std::size_t s = 0; s < S; ++s) most = std::fmax(most, x[s]);
    if (most == -INFINITY) continue;
    for (std::size_t s = 0; s < S; ++s) total += p[row * S + s] = std::exp(x[s] - most);
    for (std::size_t s = 0; s < S; ++s) p[row * S + s] /= total;
  }
  return p;
}

std::vector<float> float_swiglu(const std::vector<FloatTensor>& in) {
  std::vector<float> y;
  for (std::size_t i = 0; i < in[0].values.size(); ++i) {
    const float gate = in[0].values[i];
    y.push_back(gate / (1.0f + std::exp(-gate)) * in[1].values[i]);
  }
  return y;
}

FloatTwin float_exponential(double factor, double shift) {
  return [factor, shift](const std::vector<FloatTensor>& in) {
    std::vector<float> y;
    for (const float x : in[0].values) {
      y.push_back(std::exp(static_cast<float>(factor) * x) * std::exp(static_cast<float>(shift)));
    }
    return y;
  };
}

FloatTwin float_reciprocal(double numerator) {
  return [numerator](const std::vector<FloatTensor>& in) {
    std::vector<float> y;
    for (const float x : in[0].values) y.push_back(static_cast<float>(numerator) / x);
    return y;
  };
}

std::vector<float> float_times(const std::vector<FloatTensor>& in) {
  std::vector<float> y = in[0].values;
  for (std::size_t i = 0; i < y.size(); ++i) y[i] *= in[1].values[i];
  return y;
}

std::vector<float> float_weighted_sum(const std::vector<FloatTensor>& in) {
  std::vector<float> y(in[0].values.size(), 0.0f);
  for (std::size_t term = 0; term + 1 < in.size(); ++term) {
    for (std::size_t i = 0; i < y.size(); ++i) {
      y[i] += in.back().values[term] * in[term].values[i];
    }
  }
  return y;
}

std::vector<float> float_window_strengths(const std::vector<FloatTensor>& in) {
  const FloatTensor &scores = in[0], &real = in[1];  // [B,H,T,S] [B,S]
  const std::size_t B = extent(scores, 0), H = extent(scores, 1), T = extent(scores, 2);
  const std::size_t S = extent(scores, 3);
  std::vector<float> y;
  for (std::size_t b = 0; b < B; ++b) {
    float least = INFINITY, most = -INFINITY;
    for (std::size_t t = 0; t < T; ++t) {
      float sum = 0, terms = 0;
      for (std::size_t s = 0; s <= t; ++s) {
        for (std::size_t h = 0; real.values[b * S + s] != 0 && h < H; ++h) {
          sum += std::fabs(scores.values[((b * H + h) * T + t) * S + s]);
          ++terms;
        }
      }
      const float z = terms == 0 ? 0 : sum * (1 / terms);
      y.insert(y.end(), {z, least, most});
      if (real.values[b * S + t] == 0) continue;
      least = std::min(least, z);
      most = std::max(most, z);
    }
  }
  return y;
}

}  // namespace assay::reference::testing
