// A Llama in C++, in float32, as a library that Assay judges. It needs the standard library and
// assay_subject.h alone.
//
//   c++ -std=c++17 -O2 -shared -fPIC llama_subject.cpp -o libllama.so
//   assay generate --method plain --seq 32 --out golden.h5
//   assay verify golden.h5 --subject lib:libllama.so --leakage
#include <assay_subject.h>

#include <cmath>
#include <cstdlib>
#include <stdexcept>
#include <string>
#include <vector>

namespace {

using Floats = std::vector<float>;

struct Tensor {
  std::vector<int64_t> shape;
  Floats values;

  explicit Tensor(std::vector<int64_t> extents) : shape(std::move(extents)) {
    int64_t elements = 1;
    for (int64_t extent : shape) elements *= extent;
    values.resize(static_cast<size_t>(elements));
  }
  int64_t width() const { return shape.back(); }
  int64_t rows() const { return static_cast<int64_t>(values.size()) / width(); }
  float* row(int64_t r) { return values.data() + r * width(); }
  const float* row(int64_t r) const { return values.data() + r * width(); }
};

// The number behind "key": in a JSON text.
double number(const std::string& json, const std::string& key) {
  const size_t at = json.find("\"" + key + "\":");
  if (at == std::string::npos) throw std::runtime_error("config.json has no " + key);
  return std::strtod(json.c_str() + at + key.size() + 3, nullptr);
}

bool has(const std::string& json, const std::string& text) {
  return json.find(text) != std::string::npos;
}

struct Config {
  int64_t D, F, L, H, Hkv, Dh, V;  // width, MLP, layers, heads, key/value heads, head, vocabulary
  double eps, theta;

  explicit Config(const std::string& json)
      : D(whole(plain_llama(json), "hidden_size")),
        F(whole(json, "intermediate_size")),
        L(whole(json, "num_hidden_layers")),
        H(whole(json, "num_attention_heads")),
        Hkv(whole(json, "num_key_value_heads")),
        Dh(whole(json, "head_dim")),
        V(whole(json, "vocab_size")),
        eps(number(json, "rms_norm_eps")),
        theta(number(json, "rope_theta")) {}
  static const std::string& plain_llama(const std::string& json) {
    if (!has(json, "\"LlamaForCausalLM\"") || !has(json, "\"rope_scaling\": null") ||
        !has(json, "\"tie_word_embeddings\": false")) {
      throw std::runtime_error("expected a plain Llama with a head of its own");
    }
    return json;
  }
  static int64_t whole(const std::string& json, const char* key) {
    return static_cast<int64_t>(number(json, key));
  }
};

struct Layer {
  Floats attn_norm, wq, wk, wv, wo, mlp_norm, w_gate, w_up, w_down;
};

Floats read_weight(const assay_subject_model& model, const std::string& name, int64_t count) {
  std::vector<double> values(static_cast<size_t>(count));
  if (model.read_weight(model.context, name.c_str(), values.data(), count) != 0) {
    throw std::runtime_error("no weight " + name + " of " + std::to_string(count) + " elements");
  }
  return Floats(values.begin(), values.end());
}

// y = x W^T, W [out,in] as PyTorch stores it
Tensor linear(const Tensor& x, const Floats& weight, int64_t out) {
  std::vector<int64_t> shape = x.shape;
  shape.back() = out;
  Tensor y(shape);
  const int64_t in = x.width();
  for (int64_t r = 0; r < x.rows(); ++r) {
    for (int64_t o = 0; o < out; ++o) {
      const float* w = weight.data() + o * in;
      float sum = 0;
      for (int64_t i = 0; i < in; ++i) sum += x.row(r)[i] * w[i];
      y.row(r)[o] = sum;
    }
  }
  return y;
}

Tensor rms_norm(const Tensor& x, const Floats& gain, double eps) {
  Tensor y(x.shape);
  for (int64_t r = 0; r < x.rows(); ++r) {
    float sum = 0;
    for (int64_t d = 0; d < x.width(); ++d) sum += x.row(r)[d] * x.row(r)[d];
    const float inverse =
        1.0f / std::sqrt(sum / static_cast<float>(x.width()) + static_cast<float>(eps));
    for (int64_t d = 0; d < x.width(); ++d) {
      y.row(r)[d] = x.row(r)[d] * inverse * gain[static_cast<size_t>(d)];
    }
  }
  return y;
}

Tensor sum_of(const Tensor& a, const Tensor& b) {
  Tensor y = a;
  for (size_t i = 0; i < y.values.size(); ++i) y.values[i] += b.values[i];
  return y;
}

// [B,T,heads*Dh] -> [B,heads,T,Dh]
Tensor split_heads(const Tensor& x, int64_t heads) {
  const int64_t B = x.shape[0], T = x.shape[1], Dh = x.width() / heads;
  Tensor y({B, heads, T, Dh});
  for (int64_t b = 0; b < B; ++b) {
    for (int64_t t = 0; t < T; ++t) {
      for (int64_t h = 0; h < heads; ++h) {
        for (int64_t d = 0; d < Dh; ++d) {
          y.row((b * heads + h) * T + t)[d] = x.row(b * T + t)[h * Dh + d];
        }
      }
    }
  }
  return y;
}

// Rotary embedding of x [B,heads,T,Dh]: pairs are the two halves of a head.
Tensor rotated(Tensor x, double theta) {
  const int64_t T = x.shape[2], half = x.width() / 2;
  for (int64_t r = 0; r < x.rows(); ++r) {
    const auto t = static_cast<double>(r % T);
    for (int64_t d = 0; d < half; ++d) {
      const double angle = t * std::pow(theta, -static_cast<double>(d) / static_cast<double>(half));
      const auto c = static_cast<float>(std::cos(angle)), s = static_cast<float>(std::sin(angle));
      const float a = x.row(r)[d], b = x.row(r)[d + half];
      x.row(r)[d] = a * c - b * s;
      x.row(r)[d + half] = b * c + a * s;
    }
  }
  return x;
}

// What one run is done with: where tensors go, and where given ones come from.
class Taps {
 public:
  explicit Taps(const assay_subject_request& request) : request_(request) {}

  // Hands the tensor over, and replaces it where the judge gives another one.
  Tensor keep(const std::string& name, Tensor x) {
    if (request_.hand_over(request_.context, name.c_str(), ASSAY_F32,
                           static_cast<int32_t>(x.shape.size()), x.shape.data(),
                           x.values.data()) != 0) {
      throw std::runtime_error("the judge does not take " + name);
    }
    std::vector<double> given(x.values.size());
    const int32_t answer = request_.forced(request_.context, name.c_str(), given.data(),
                                           static_cast<int64_t>(given.size()));
    if (answer < 0) throw std::runtime_error("the judge gives another " + name);
    if (answer == 1) x.values.assign(given.begin(), given.end());
    return x;
  }
  const assay_subject_request& request() const { return request_; }

 private:
  const assay_subject_request& request_;
};

// softmax(q k^T / sqrt(Dh)) v over the keys s <= t that are no padding.
Tensor attend(const Tensor& q, const Tensor& k, const Tensor& v, Taps& taps,
              const std::string& at) {
  const int64_t B = q.shape[0], H = q.shape[1], T = q.shape[2], Dh = q.shape[3];
  const int64_t group = H / k.shape[1];
  const auto row_of_key = [&](int64_t b, int64_t h, int64_t s) {
    return (b * k.shape[1] + h / group) * T + s;
  };
  Tensor scores({B, H, T, T}), probs({B, H, T, T}), context({B, T, H * Dh});
  const float scale = 1.0f / std::sqrt(static_cast<float>(Dh));
  for (int64_t b = 0; b < B; ++b) {
    for (int64_t h = 0; h < H; ++h) {
      for (int64_t t = 0; t < T; ++t) {
        const int64_t r = (b * H + h) * T + t;
        float most = -INFINITY, total = 0;
        for (int64_t s = 0; s < T; ++s) {
          const bool visible = s <= t && taps.request().attention_mask[b * T + s] != 0;
          float dot = 0;
          for (int64_t d = 0; d < Dh; ++d) dot += q.row(r)[d] * k.row(row_of_key(b, h, s))[d];
          scores.row(r)[s] = visible ? dot * scale : -INFINITY;
          if (scores.row(r)[s] > most) most = scores.row(r)[s];
        }
        for (int64_t s = 0; s < T && most > -INFINITY; ++s) {
          probs.row(r)[s] = std::exp(scores.row(r)[s] - most);
          total += probs.row(r)[s];
        }
        for (int64_t s = 0; s < T && total > 0; ++s) probs.row(r)[s] /= total;
        float* out = context.row(b * T + t) + h * Dh;
        for (int64_t s = 0; s < T; ++s) {
          const float p = probs.row(r)[s];
          if (p == 0) continue;
          for (int64_t d = 0; d < Dh; ++d) out[d] += p * v.row(row_of_key(b, h, s))[d];
        }
      }
    }
  }
  taps.keep(at + "scores", scores);
  taps.keep(at + "probs", probs);
  return taps.keep(at + "context", context);
}

// Mean cross-entropy of logits at t against the label at t + 1, where it counts.
float loss_of(const Tensor& logits, const assay_subject_request& request) {
  double sum = 0;
  int64_t counted = 0;
  for (int64_t b = 0; b < request.batch; ++b) {
    for (int64_t t = 0; t + 1 < request.positions; ++t) {
      const int32_t label = request.labels[b * request.positions + t + 1];
      if (label < 0) continue;
      const float* row = logits.row(b * request.positions + t);
      double most = row[0], total = 0;
      for (int64_t i = 0; i < logits.width(); ++i) most = std::fmax(most, row[i]);
      for (int64_t i = 0; i < logits.width(); ++i) total += std::exp(row[i] - most);
      sum += std::log(total) + most - row[label];
      ++counted;
    }
  }
  return static_cast<float>(sum / static_cast<double>(counted));
}

}  // namespace

struct assay_subject {
  Config c;
  Floats embedding, final_norm, head;
  std::vector<Layer> layers;
  std::string error;

  explicit assay_subject(const assay_subject_model& model) : c(model.config_json) {
    if (std::string(model.precision) != "fp32") {
      throw std::runtime_error(std::string("expected fp32, got ") + model.precision);
    }
    embedding = read_weight(model, "model.embed_tokens.weight", c.V * c.D);
    for (int64_t l = 0; l < c.L; ++l) {
      const std::string at = "model.layers." + std::to_string(l) + ".";
      const auto read = [&](const char* name, int64_t count) {
        return read_weight(model, at + name + ".weight", count);
      };
      layers.push_back({read("input_layernorm", c.D), read("self_attn.q_proj", c.H * c.Dh * c.D),
                        read("self_attn.k_proj", c.Hkv * c.Dh * c.D),
                        read("self_attn.v_proj", c.Hkv * c.Dh * c.D),
                        read("self_attn.o_proj", c.D * c.H * c.Dh),
                        read("post_attention_layernorm", c.D), read("mlp.gate_proj", c.F * c.D),
                        read("mlp.up_proj", c.F * c.D), read("mlp.down_proj", c.D * c.F)});
    }
    final_norm = read_weight(model, "model.norm.weight", c.D);
    head = read_weight(model, "lm_head.weight", c.V * c.D);
  }

  Tensor run_layer(Tensor x, int64_t l, Taps& taps) const {
    const Layer& layer = layers[static_cast<size_t>(l)];
    const std::string at = "layers/" + std::to_string(l) + "/";
    const auto keep = [&](const char* name, Tensor y) {
      return taps.keep(at + name, std::move(y));
    };
    x = keep("input", std::move(x));                                          // [B,T,D]
    const Tensor a = keep("attn_norm", rms_norm(x, layer.attn_norm, c.eps));  // [B,T,D]
    const auto heads = [&](const Floats& w, int64_t n) {
      return split_heads(linear(a, w, n * c.Dh), n);
    };
    const Tensor q = keep("attn/q", rotated(heads(layer.wq, c.H), c.theta));    // [B,H,T,Dh]
    const Tensor k = keep("attn/k", rotated(heads(layer.wk, c.Hkv), c.theta));  // [B,Hkv,T,Dh]
    const Tensor v = keep("attn/v", heads(layer.wv, c.Hkv));                    // [B,Hkv,T,Dh]
    const Tensor context = attend(q, k, v, taps, at + "attn/");                 // [B,T,H*Dh]
    const Tensor o = keep("attn/out", linear(context, layer.wo, c.D));          // [B,T,D]
    x = keep("attn_residual", sum_of(x, o));                                    // [B,T,D]
    const Tensor m = keep("mlp_norm", rms_norm(x, layer.mlp_norm, c.eps));      // [B,T,D]
    const Tensor gate = keep("mlp/gate", linear(m, layer.w_gate, c.F));         // [B,T,F]
    const Tensor up = keep("mlp/up", linear(m, layer.w_up, c.F));               // [B,T,F]
    Tensor act = gate;                                                          // [B,T,F]
    for (size_t i = 0; i < act.values.size(); ++i) {
      act.values[i] *= up.values[i] / (1.0f + std::exp(-gate.values[i]));
    }
    act = keep("mlp/act", std::move(act));
    const Tensor down = keep("mlp/out", linear(act, layer.w_down, c.D));  // [B,T,D]
    return keep("output", sum_of(x, down));                               // [B,T,D]
  }

  void run(const assay_subject_request& request) const {
    Taps taps(request);
    Tensor x({request.batch, request.positions, c.D});
    for (int64_t r = 0; r < x.rows(); ++r) {
      const float* row = embedding.data() + request.tokens[r] * c.D;
      for (int64_t d = 0; d < c.D; ++d) x.row(r)[d] = row[d];
    }
    x = taps.keep("embed", std::move(x));
    for (int64_t l = 0; l < c.L; ++l) x = run_layer(std::move(x), l, taps);
    x = taps.keep("final_norm", rms_norm(x, final_norm, c.eps));
    const Tensor logits = taps.keep("logits", linear(x, head, c.V));
    Tensor loss(std::vector<int64_t>{});
    loss.values[0] = loss_of(logits, request);
    taps.keep("loss", loss);
  }
};

namespace {

thread_local std::string open_error;

}  // namespace

int32_t assay_subject_abi(void) { return ASSAY_SUBJECT_ABI; }

int32_t assay_subject_open(const assay_subject_model* model, assay_subject** subject) {
  try {
    *subject = new assay_subject(*model);
    return 0;
  } catch (const std::exception& error) {
    open_error = error.what();
    return 1;
  }
}

int32_t assay_subject_describe(assay_subject*, assay_subject_description* description) {
  description->name = "llama_subject";
  description->version = "1.0";
  description->storage = "fp32";
  description->schedule = "eager";
  description->angles = "double";
  description->can_force = 1;
  return 0;
}

int32_t assay_subject_run(assay_subject* subject, const assay_subject_request* request) {
  try {
    subject->run(*request);
    return 0;
  } catch (const std::exception& error) {
    subject->error = error.what();
    return 1;
  }
}

const char* assay_subject_error(assay_subject* subject) {
  return subject == nullptr ? open_error.c_str() : subject->error.c_str();
}

void assay_subject_close(assay_subject* subject) { delete subject; }
