#include "reference/streaming/streamed_model.h"

#include <fmt/format.h>

#include <algorithm>
#include <set>

#include "golden/contract/error.h"
#include "reference/streaming/chunk_pass.h"
#include "reference/streaming/limits.h"

namespace assay::reference {
namespace {

// One row of a step: columns first .. first+count-1 of the chunk are positions of a sequence.
struct StepRow {
  const Piece* piece = nullptr;
  KeyCache* cache = nullptr;
  int64_t done = 0, count = 0, first = 0;
  int64_t sinks = 0;         // of the cache, apart from the window
  int64_t oldest = 0;        // the window's first position in the cache
  int64_t length = 0;        // of the sequence so far: the chunk's first position
  int64_t cached_first = 0;  // column of the keys where the cache's begin
  int64_t cached() const { return sinks + length - oldest; }
  bool last() const { return done + count == static_cast<int64_t>(piece->tokens.size()); }
};

}  // namespace

class StreamedModel::Steps {
 public:
  Steps(const golden::ModelConfig& config, const golden::WeightSource& weights,
        const StreamOptions& options)
      : options_(settled(config, options)),
        reach_(reach_of(config)),
        part_(partial_reach_of(config)),
        size_(cache_size(options_, reach_, part_)),
        parameters_(parameters_of(config)),
        vocab_(config.vocab_size),
        pass_(config, weights, options_.observe) {
    for (int64_t b = 0; b < options_.batch; ++b) caches_.push_back(options_.cache(kept(), size_));
  }

  void append(std::span<const Piece> pieces) {
    check(pieces);
    const auto marks = marks_of(pieces);
    try {
      take(pieces);
    } catch (...) {
      for (std::size_t i = 0; i < marks.size(); ++i) cache(pieces[i].sequence).go_back(*marks[i]);
      throw;
    }
  }

  bool share(int64_t from, int64_t to, int64_t positions) const {
    KeyCache &source = cache(from), &target = cache(to);
    if (from == to || positions < 0 || positions > source.length()) {
      throw InputError(fmt::format(
          "stream: share: expected 0 .. {} positions of another sequence, got {} of {} for {}",
          source.length(), positions, from, to));
    }
    if (source.held() != source.length()) return false;
    if (part_.window > 0 && source.length() > size_.sinks + size_.windowed) return false;
    std::vector<Array> arrays;  // [heads, positions, width] of each tensor
    std::vector<KeptRows> rows;
    for (std::size_t tensor = 0; tensor < kept().size(); ++tensor) {
      const int64_t stride = positions * kept()[tensor].width;
      arrays.push_back(
          Array::uninitialized({kept()[tensor].heads, positions, kept()[tensor].width}));
      source.read(tensor, 0, positions, arrays.back().data(), stride);
      rows.push_back({arrays.back().data(), stride});
    }
    std::vector<uint8_t> real;
    for (int64_t p = 0; p < positions; ++p) real.push_back(source.is_real(p) ? 1 : 0);
    target.reset();
    target.append(positions, rows, real);
    return true;
  }

  KeyCache& cache(int64_t sequence) const {
    check_sequence(sequence);
    return *caches_[static_cast<std::size_t>(sequence)];
  }
  const std::vector<KeptTensor>& kept() const { return pass_.kept(); }
  int64_t vocab() const { return vocab_; }
  int64_t window() const { return reach_.window; }
  int64_t capacity() const { return options_.capacity + reach_.sinks; }
  int64_t most_positions() const {
    return reach_.window == 0 ? std::min(options_.capacity, parameters_.positions)
                              : parameters_.positions;
  }

 private:
  // Where some layers see everything, `capacity` positions are all there are, sinks among them.
  static CacheSize cache_size(const StreamOptions& options, const Reach& all, const Reach& part) {
    if (part.window == 0) return {options.capacity, all.sinks, 0};
    const int64_t sinks = std::min(part.sinks, options.capacity - 1);
    return {options.capacity - sinks, sinks, options.windowed};
  }

  void check_sequence(int64_t sequence) const {
    if (sequence >= 0 && sequence < options_.batch) return;
    throw InputError(
        fmt::format("stream: sequence {}: expected 0 .. {}", sequence, options_.batch - 1));
  }

  void check(std::span<const Piece> pieces) const {
    std::set<int64_t> sequences;
    for (const Piece& piece : pieces) {
      check_sequence(piece.sequence);
      const std::string where = fmt::format("stream: sequence {}: ", piece.sequence);
      if (!sequences.insert(piece.sequence).second) {
        throw InputError(where + "expected one piece of it, got two");
      }
      check_piece(piece, where);
      check_length(piece, where);
    }
  }

  void check_piece(const Piece& piece, const std::string& where) const {
    const std::size_t n = piece.tokens.size(), v = static_cast<std::size_t>(vocab_);
    if (n == 0) throw InputError(where + "expected at least one token, got none");
    for (std::size_t i = 0; i < n; ++i) {
      if (piece.tokens[i] >= 0 && piece.tokens[i] < vocab_) continue;
      throw InputError(fmt::format("{}token {} of the piece: expected 0 .. {}, got {}", where, i,
                                   vocab_ - 1, piece.tokens[i]));
    }
    const std::size_t logits = piece.logits.size();
    if (logits != 0 && logits != v && logits != n * v) {
      throw InputError(
          fmt::format("{}logits: expected {} numbers ({} positions of {}), {} or none, "
                      "got {}",
                      where, n * v, n, v, v, logits));
    }
    if (!piece.real.empty() && piece.real.size() != n) {
      throw InputError(
          fmt::format("{}mask: expected {} values, got {}", where, n, piece.real.size()));
    }
  }

  void check_length(const Piece& piece, const std::string& where) const {
    const int64_t length = caches_[static_cast<std::size_t>(piece.sequence)]->length();
    const auto n = static_cast<int64_t>(piece.tokens.size());
    if (n > parameters_.positions - length) {
      throw InputError(fmt::format("{}expected at most {} positions ({}), got {} after {}", where,
                                   parameters_.positions, parameters_.what, n, length));
    }
    if (reach_.window == 0 && n > options_.capacity - length) {
      throw InputError(
          fmt::format("{}the cache ends: expected at most {} positions, for without a "
                      "window every one is kept, got {} after {}; give a larger "
                      "capacity, or the config a window",
                      where, options_.capacity, n, length));
    }
  }

  // Of a single step of one sequence nothing has to be taken back: its append is the last thing.
  std::vector<std::unique_ptr<CacheMark>> marks_of(std::span<const Piece> pieces) const {
    std::vector<std::unique_ptr<CacheMark>> marks;
    const auto count = [](const Piece& piece) { return static_cast<int64_t>(piece.tokens.size()); };
    if (pieces.size() == 1 && count(pieces[0]) <= options_.chunk) return marks;
    for (const Piece& piece : pieces) {
      marks.push_back(cache(piece.sequence).mark(count(piece)));
    }
    return marks;
  }

  // One step after another, each of the next chunk of every piece.
  void take(std::span<const Piece> pieces) {
    std::vector<int64_t> done(pieces.size(), 0);
    while (true) {
      std::vector<StepRow> rows;
      for (std::size_t i = 0; i < pieces.size(); ++i) {
        const int64_t rest = static_cast<int64_t>(pieces[i].tokens.size()) - done[i];
        if (rest == 0) continue;
        rows.push_back(row_of(pieces[i], done[i], std::min(rest, options_.chunk)));
        done[i] += rows.back().count;
      }
      if (rows.empty()) return;
      step(rows);
    }
  }

  StepRow row_of(const Piece& piece, int64_t done, int64_t count) const {
    KeyCache& cache = *caches_[static_cast<std::size_t>(piece.sequence)];
    StepRow row{.piece = &piece, .cache = &cache, .done = done, .count = count};
    row.length = cache.length();
    if (reach_.window > 0) row.oldest = std::max<int64_t>(0, row.length - (reach_.window - 1));
    row.sinks = std::min(reach_.sinks, row.oldest);
    return row;
  }

  // Fills in where rows stand; the logits and new rows of all of them.
  void step(std::vector<StepRow>& rows) {
    ChunkInputs inputs;
    const int64_t cached = place(rows, inputs);
    inputs.keys = [&](std::size_t tensor, const Array& own) {
      return keys_of(rows, tensor, own, cached);
    };
    for (const StepRow& row : rows) inputs.logits = inputs.logits || wants_logits(row);
    const ChunkResults results = pass_.run(inputs);
    for (std::size_t b = 0; b < rows.size(); ++b) {
      if (wants_logits(rows[b])) give_logits(rows[b], static_cast<int64_t>(b), results.logits);
      keep(rows[b], static_cast<int64_t>(b), results.rows);
    }
  }

  // Tokens, mask and places of a step [B,T], [B,S]; returns how many keys stand in front of the
  // chunk's.
  int64_t place(std::vector<StepRow>& rows, ChunkInputs& inputs) const {
    int64_t queries = 0, cached = 0;
    for (const StepRow& row : rows) {
      queries = std::max(queries, row.count);
      cached = std::max(cached, row.cached());
    }
    const auto batch = static_cast<int64_t>(rows.size()), keys = cached + queries;
    Places& at = inputs.places;
    at.batch = batch, at.queries = queries, at.keys = keys;
    at.query.assign(static_cast<std::size_t>(batch * queries), kNoPosition);
    at.key.assign(static_cast<std::size_t>(batch * keys), kNoPosition);
    inputs.tokens = Array::zeros({batch, queries});
    inputs.real = Array::zeros({batch, keys});
    const bool left = options_.padding == StreamOptions::Padding::left;
    for (int64_t b = 0; b < batch; ++b) {
      StepRow& row = rows[static_cast<std::size_t>(b)];
      row.first = left ? queries - row.count : 0;
      row.cached_first = left ? cached - row.cached() : 0;
      place_cached(row, at.key.data() + b * keys, inputs.real.data() + b * keys);
      for (int64_t i = 0; i < row.count; ++i) {
        const int64_t column = row.first + i, position = row.length + i;
        const auto token = static_cast<std::size_t>(row.done + i);
        at.query[static_cast<std::size_t>(b * queries + column)] = position;
        at.key[static_cast<std::size_t>(b * keys + cached + column)] = position;
        inputs.tokens.data()[b * queries + column] = row.piece->tokens[token];
        const bool real = row.piece->real.empty() || row.piece->real[token] != 0;
        inputs.real.data()[b * keys + cached + column] = real ? 1 : 0;
      }
    }
    return cached;
  }

  static void place_cached(const StepRow& row, int64_t* key, double* real) {
    int64_t column = row.cached_first;
    const auto put = [&](int64_t position) {
      key[column] = position;
      real[column++] = row.cache->is_real(position) ? 1 : 0;
    };
    for (int64_t position = 0; position < row.sinks; ++position) put(position);
    for (int64_t position = row.oldest; position < row.length; ++position) put(position);
  }

  // What the cache holds of a tensor, then the chunk's own rows; 0 where nothing stands.
  Array keys_of(const std::vector<StepRow>& rows, std::size_t tensor, const Array& own,
                int64_t cached) const {
    Shape shape = own.shape();  // [B,heads,T,width] or [B,T,width]
    const int64_t width = shape.back(), queries = shape[shape.size() - 2];
    const int64_t heads = shape.size() == 4 ? shape[1] : 1, keys = cached + queries;
    shape[shape.size() - 2] = keys;
    Array all = Array::zeros(shape);
    for (std::size_t b = 0; b < rows.size(); ++b) {
      const StepRow& row = rows[b];
      double* to = all.data() + static_cast<int64_t>(b) * heads * keys * width;
      double* first = to + row.cached_first * width;
      if (part_.window > 0 && kept()[tensor].windowed) {
        read_windowed(row, tensor, first, keys * width);
      } else {
        row.cache->read(tensor, 0, row.sinks, first, keys * width);
        row.cache->read(tensor, row.oldest, row.length, first + row.sinks * width, keys * width);
      }
      for (int64_t h = 0; h < heads; ++h) {
        const int64_t plane = static_cast<int64_t>(b) * heads + h;
        const double* from = own.data() + (plane * queries + row.first) * width;
        std::copy(from, from + row.count * width, to + (h * keys + cached + row.first) * width);
      }
    }
    return all;
  }

  // Where every position has a column, sinks and the window of those that no layer sees all of.
  void read_windowed(const StepRow& row, std::size_t tensor, double* to, int64_t stride) const {
    const int64_t width = kept()[tensor].width;
    const int64_t oldest = std::max<int64_t>(0, row.length - (part_.window - 1));
    row.cache->read(tensor, 0, std::min(part_.sinks, oldest), to, stride);
    row.cache->read(tensor, oldest, row.length, to + oldest * width, stride);
  }

  bool wants_logits(const StepRow& row) const {
    const std::size_t asked = row.piece->logits.size();
    if (asked == 0) return false;
    return row.last() || asked > static_cast<std::size_t>(vocab_);
  }

  void give_logits(const StepRow& row, int64_t b, const Array& logits) const {
    const auto v = static_cast<std::size_t>(vocab_);
    const bool every = row.piece->logits.size() == row.piece->tokens.size() * v;
    const int64_t first = every ? 0 : row.count - 1, positions = logits.shape()[1];
    const double* from = logits.data() + (b * positions + row.first + first) * vocab_;
    double* to = row.piece->logits.data() + (every ? row.done * vocab_ : 0);
    std::copy(from, from + (row.count - first) * vocab_, to);
  }

  static void keep(const StepRow& row, int64_t b, const std::vector<Array>& rows) {
    std::vector<KeptRows> kept;
    for (const Array& own : rows) {
      const Shape& shape = own.shape();
      const int64_t width = shape.back(), queries = shape[shape.size() - 2];
      const int64_t heads = shape.size() == 4 ? shape[1] : 1;
      kept.push_back({own.data() + (b * heads * queries + row.first) * width, queries * width});
    }
    const auto given = row.piece->real;
    std::vector<uint8_t> real(static_cast<std::size_t>(row.count), 1);
    if (!given.empty()) std::copy_n(given.begin() + row.done, row.count, real.begin());
    row.cache->append(row.count, kept, real);
  }

  StreamOptions options_;
  Reach reach_, part_;  // of all layers, and of some where others see everything
  CacheSize size_;
  Parameters parameters_;
  int64_t vocab_;
  ChunkPass pass_;
  std::vector<std::unique_ptr<KeyCache>> caches_;
};

StreamedModel::StreamedModel(const golden::ModelConfig& config, const golden::WeightSource& weights,
                             const StreamOptions& options)
    : steps_(std::make_unique<Steps>(config, weights, options)) {}
StreamedModel::~StreamedModel() = default;

void StreamedModel::append(std::span<const Piece> pieces) { steps_->append(pieces); }
void StreamedModel::append(int64_t sequence, std::span<const int32_t> tokens,
                           std::span<double> logits) {
  const Piece piece{.sequence = sequence, .tokens = tokens, .logits = logits};
  append({&piece, 1});
}

bool StreamedModel::share(int64_t from, int64_t to, int64_t positions) {
  return steps_->share(from, to, positions);
}
void StreamedModel::reset(int64_t sequence) { steps_->cache(sequence).reset(); }
int64_t StreamedModel::length(int64_t sequence) const { return steps_->cache(sequence).length(); }

StreamStatistics StreamedModel::statistics(int64_t sequence) const {
  const KeyCache& cache = steps_->cache(sequence);
  return {
      .length = cache.length(),
      .held = cache.held(),
      .capacity = steps_->capacity(),
      .evictions = cache.evictions(),
      .bytes = cache.bytes(),
      .utilisation = static_cast<double>(cache.held()) / static_cast<double>(steps_->capacity())};
}

int64_t StreamedModel::vocab_size() const { return steps_->vocab(); }
int64_t StreamedModel::window() const { return steps_->window(); }
int64_t StreamedModel::most_positions() const { return steps_->most_positions(); }
const std::vector<KeptTensor>& StreamedModel::kept() const { return steps_->kept(); }

}  // namespace assay::reference
