#include "cli/campaign/clean_case.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <array>

#include "golden/contract/error.h"
#include "golden/contract/methods.h"
#include "golden/contract/random.h"

namespace assay::cli {
namespace {

using golden::BlockKind;
using golden::ModelConfig;
using golden::Precision;

// Numbers of one case, each drawn once.
class Draws {
 public:
  Draws(uint64_t seed, const std::string& stream) : words_(kMost) {
    golden::random_words(seed, golden::stream_id(stream), 0, words_);
  }
  int64_t below(int64_t n) { return words_.at(next_++) % static_cast<uint64_t>(n); }
  int64_t between(int64_t least, int64_t most) { return least + below(most - least + 1); }
  bool one_in(int64_t n) { return below(n) == 0; }
  template <class T, std::size_t N>
  T of(const T (&list)[N]) {
    return list[below(N)];
  }

 private:
  static constexpr std::size_t kMost = 128;
  std::vector<uint32_t> words_;
  std::size_t next_ = 0;
};

void draw_shape(Draws& draw, CleanCase& c) {
  ModelConfig& m = c.config;
  m.block = draw.one_in(3) ? BlockKind::gpt2 : BlockKind::llama;
  m.num_attention_heads = draw.of({1, 2, 4});
  m.num_key_value_heads = m.num_attention_heads;
  while (m.num_key_value_heads > 1 && draw.one_in(2)) m.num_key_value_heads /= 2;
  m.head_dim = draw.of({2, 4, 8, 16});
  m.hidden_size = draw.of({2, 6, 16, 32, 40});
  m.intermediate_size = draw.of({1, 5, 24, 48});
  m.num_hidden_layers = draw.between(1, 4);
  m.vocab_size = draw.of({2, 7, 40, 97});
  m.tie_word_embeddings = m.block == BlockKind::gpt2 || draw.one_in(4);
  m.norm = m.block == BlockKind::gpt2 && draw.one_in(2) ? golden::NormPosition::post
                                                        : golden::NormPosition::pre;
  m.activation = m.block == BlockKind::gpt2 && draw.one_in(2) ? golden::Activation::gelu
                                                              : golden::Activation::gelu_new;
  c.batch = draw.between(1, 3);
  c.positions = draw.one_in(3) ? draw.between(33, 70) : draw.between(1, 32);
  m.max_position_embeddings = 128;
  if (draw.one_in(3)) {
    m.window = draw.between(1, c.positions);
    m.sink_tokens = draw.of({0, 0, 1, 3});
  }
}

void draw_prob_transformer(Draws& draw, golden::ProbTransformer& pt) {
  using PT = golden::ProbTransformer;
  pt.message = draw.of({PT::Message::full, PT::Message::symmetric, PT::Message::head});
  pt.schedule = draw.of({PT::Schedule::async, PT::Schedule::sync});
  pt.causal_heads = draw.one_in(3);
  if (pt.causal_heads) pt.message = PT::Message::head;
  pt.output = pt.causal_heads && draw.one_in(2) ? PT::Output::causal : PT::Output::mlm;
  pt.read = draw.of({PT::Read::scores, PT::Read::labels});
  if (draw.one_in(3)) pt.distances = std::vector<int64_t>{2, 5};
  if (draw.one_in(3)) pt.label_step = 0.5;
  if (draw.one_in(3)) pt.head_damping = 0.25;
}

void draw_method(Draws& draw, CleanCase& c) {
  ModelConfig& m = c.config;
  const auto& methods = golden::methods();
  const golden::MethodInfo& method =
      methods[static_cast<std::size_t>(draw.below(static_cast<int64_t>(methods.size())))];
  m.method = method.id;
  if (method.takes("residual") && draw.one_in(2)) m.residual = golden::Residual::replace;
  if (method.takes("detach_stored") && draw.one_in(4)) m.detach_stored = true;
  if (!method.forms.empty()) {
    const auto forms = static_cast<int64_t>(method.forms.size());
    m.form = method.forms[static_cast<std::size_t>(draw.below(forms))];
  }
  if (method.takes("score_positions")) m.score_positions = c.positions + draw.between(0, 3);
  if (draw.one_in(3)) m.params = golden::Params::initial;
  if (method.family == golden::Family::prob_transformer) draw_prob_transformer(draw, m.pt);
}

// Options of the Llama block, behind all else, which so stays what it is.
void draw_options(Draws& draw, CleanCase& c) {
  ModelConfig& m = c.config;
  using golden::AttentionBias;
  const bool attends = m.method != "pt";
  const bool qk_norm = draw.one_in(3), partly = draw.one_in(2);
  const AttentionBias bias = draw.of({AttentionBias::none, AttentionBias::qkv, AttentionBias::all});
  if (m.block == BlockKind::llama && attends) {
    m.qk_norm = qk_norm;
    m.attention_bias = bias;
  }
  const int64_t full = draw.below(4);
  if (m.window != 0 && attends && partly && m.num_hidden_layers > 1) {
    m.full_layers = {full % m.num_hidden_layers};
  }
  const bool dynamic = draw.one_in(2) && m.window != 0 && attends;
  if (!dynamic || c.subject.find("stacked") != std::string::npos) return;
  m.window_kind = golden::WindowKind::dynamic;
  m.window_min = draw.between(1, m.window);
}

void draw_padding(Draws& draw, CleanCase& c) {
  const bool pads = draw.one_in(2);
  std::vector<std::string> rows;
  for (int64_t b = 0; b < c.batch; ++b) {
    const int64_t kind = draw.below(3), most = c.positions - 1;
    const int64_t padded = pads && kind > 0 && most > 0 ? draw.between(0, most) : 0;
    for (int64_t t = 0; t < c.positions; ++t) {
      const bool is_padded = kind == 1 ? t < padded : t >= c.positions - padded;
      c.attention_mask.push_back(padded > 0 && is_padded ? 0 : 1);
    }
    rows.push_back(padded == 0 ? "none"
                               : fmt::format("{} {}", kind == 1 ? "left" : "right", padded));
  }
  c.padding = fmt::format("{}", fmt::join(rows, ", "));
}

CleanCase draw_any(uint64_t seed, uint64_t index, int attempt, double largest_peak) {
  Draws draw(seed, fmt::format("clean case/{}/{}", index, attempt));
  CleanCase c;
  draw_shape(draw, c);
  draw_method(draw, c);
  draw_padding(draw, c);
  c.seed = static_cast<uint64_t>(draw.below(1 << 30));
  for (double peak = 1; peak * 2 <= largest_peak && draw.one_in(2); peak *= 2) c.peak = peak * 2;
  c.precision = draw.of(
      {Precision::fp64, Precision::fp32, Precision::tf32, Precision::bf16, Precision::fp16});
  c.subject = draw.of({"simt", "simt:stacked", "simt:head=64", "simt:stacked:stack=1",
                       "simt:stored=1000000", "simt:span=32", "simt:block=5",
                       "simt:stacked:stored=1000000:head=1", "reference"});
  c.leakage = c.positions <= 16 && draw.one_in(2);
  draw_options(draw, c);
  return c;
}

}  // namespace

std::string CleanCase::text() const {
  return fmt::format("{} in {}: [{},{}], padding {}, seed {}, peak {}{}: {}", subject,
                     golden::precision_name(precision), batch, positions, padding, seed, peak,
                     leakage ? ", leakage" : "", golden::to_json(config));
}

CleanCase draw_case(uint64_t seed, uint64_t index, double largest_peak) {
  constexpr int kAttempts = 100;  // what does not go together is drawn again
  for (int attempt = 0; attempt < kAttempts; ++attempt) {
    CleanCase c = draw_any(seed, index, attempt, largest_peak);
    try {
      golden::validate(c.config, "case");
      return c;
    } catch (const InputError&) {
    }
  }
  throw InternalError(fmt::format("case {} of seed {}: nothing that goes together", index, seed));
}

PeakedWeights::PeakedWeights(const CleanCase& c)
    : drawn_(c.config, c.seed),
      peak_(c.peak),
      query_key_columns_((c.config.num_attention_heads + c.config.num_key_value_heads) *
                         c.config.head_dim),
      columns_(query_key_columns_ + c.config.num_key_value_heads * c.config.head_dim) {}

void PeakedWeights::read(const std::string& name, std::span<double> out) const {
  drawn_.read(name, out);
  const auto about = [&](const char* part) { return name.find(part) != std::string::npos; };
  const bool joined = about("c_attn");                     // q, k and v side by side: [D,N] or [N]
  const bool normed = about("q_norm") || about("k_norm");  // whose gains are what counts then
  if (!joined && !normed && !about("q_proj") && !about("k_proj")) return;
  for (std::size_t i = 0; i < out.size(); ++i) {
    if (!joined || static_cast<int64_t>(i) % columns_ < query_key_columns_) out[i] *= peak_;
  }
}

}  // namespace assay::cli
