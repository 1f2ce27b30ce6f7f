#include "verify/judge/decoded.h"

#include <fmt/format.h>

#include <algorithm>

#include "golden/contract/error.h"
#include "verify/decoders/batches.h"
#include "verify/subjects/program.h"
#include "verify/subjects/rows.h"

namespace assay::verify {
namespace {

using Counts = std::vector<int32_t>;

// Of each row the tokens of its next counts[b] positions, filled up with the last of them.
Batch next_tokens(const Batch& batch, const Counts& done, const Counts& counts) {
  Batch piece;
  piece.batch = batch.batch;
  piece.positions = *std::max_element(counts.begin(), counts.end());
  for (int64_t b = 0; b < batch.batch; ++b) {
    const int32_t count = counts[static_cast<std::size_t>(b)];
    for (int64_t i = 0; i < piece.positions; ++i) {
      const int64_t t = done[static_cast<std::size_t>(b)] + std::clamp<int64_t>(i, 0, count - 1);
      const auto at = static_cast<std::size_t>(b * batch.positions +
                                               std::clamp<int64_t>(t, 0, batch.positions - 1));
      piece.tokens.push_back(batch.tokens[at]);
      piece.attention_mask.push_back(batch.attention_mask[at]);
      piece.labels.push_back(-100);
    }
  }
  return piece;
}

// Where the positions of a piece stand in what was handed over.
struct PieceShape {
  int64_t positions = 0;  // 0: it is none of those that are known
  bool from_start = false;
};

PieceShape read_shape(golden::Shape shape, const Places& places, int64_t rows, int64_t n,
                      int64_t behind) {
  const std::size_t axis = places.axis;
  golden::Shape due = places.shape;
  due[0] = rows;
  if (shape.size() + 1 == due.size() && axis <= shape.size()) {
    shape.insert(shape.begin() + static_cast<int64_t>(axis), 1);
  }
  if (shape.size() != due.size()) return {};
  const int64_t positions = shape[axis];
  due[axis] = positions;
  if (shape != due) return {};
  if (positions == n || positions == 1) return {positions, false};
  return positions == behind + n ? PieceShape{positions, true} : PieceShape{};
}

// One group of rows that a cache holds, within the whole batch.
struct CacheRows {
  int64_t first = 0, count = 0;  // count: those of the batch; a program may have more
};

// The piece in which rows went on by counts[b] from done[b].
struct Piece {
  const CacheRows& rows;
  const Counts& done;
  const Counts& counts;
  int64_t n;
};

void put(const Piece& piece, const golden::Tensor& tensor, const PieceShape& is, PartTensor& into) {
  const Places& to = into.places;
  golden::Shape shape = to.shape;
  shape[to.axis] = is.positions;
  const Places from{shape, to.axis};
  for (int64_t r = 0; r < piece.rows.count; ++r) {
    const int64_t done = piece.done[static_cast<std::size_t>(r)];
    const int64_t count = piece.counts[static_cast<std::size_t>(r)];
    const int64_t b = piece.rows.first + r;
    for (int64_t i = 0; i < count; ++i) {
      const bool last_alone = is.positions == 1;
      if (last_alone && i + 1 < count) continue;
      const int64_t at = last_alone ? 0 : is.from_start ? done + i : i;
      into.given[static_cast<std::size_t>(b * to.positions() + done + i)] =
          done > 0 ? kBehind : kFirst;
      for (int64_t h = 0; h < to.between(); ++h) {
        const double* source = tensor.values.data() + from.element(r, h, at);
        std::copy(source, source + to.inside(), into.values.data() + to.element(b, h, done + i));
      }
    }
  }
}

void take(const Piece& piece, Observed observed, int64_t cache_rows,
          const std::map<std::string, Places>& wanted, PartTensors& decoded) {
  const auto found = wanted.find(observed.name);
  if (found == wanted.end()) return;
  const Places& places = found->second;
  const PieceShape is =
      read_shape(observed.tensor.shape, places, cache_rows, piece.n, piece.done.front());
  if (is.positions == 0) {
    golden::Shape due = places.shape;
    due[0] = cache_rows;
    due[places.axis] = piece.n;
    throw SubjectFailure(fmt::format(
        "decode: {} of {} new positions: expected {}, those of the last one alone or all up to "
        "there, got {}",
        observed.name, piece.n, golden::shape_text(due),
        golden::shape_text(observed.tensor.shape)));
  }
  if (!read_values(observed)) return;
  const int64_t handed = golden::element_count(observed.tensor.shape);
  if (handed != static_cast<int64_t>(observed.tensor.values.size())) return;
  PartTensor& tensor = decoded[observed.name];
  if (tensor.values.empty()) tensor = empty_part(places);
  put(piece, observed.tensor, is, tensor);
}

void decode_rows_of(Subject& subject, const Batch& part, const CacheRows& rows,
                    const Chunking& chunking, const std::map<std::string, Places>& wanted,
                    PartTensors& decoded) {
  Counts done(static_cast<std::size_t>(part.batch));
  for (Counts counts : chunking.steps) {
    counts.resize(done.size(), counts.front());  // rows that fill up a group
    const Batch tokens = next_tokens(part, done, counts);
    const Piece piece{rows, done, counts, tokens.positions};
    const Receive receive = [&](Observed observed) {
      take(piece, std::move(observed), part.batch, wanted, decoded);
    };
    const bool alike = std::equal(counts.begin() + 1, counts.end(), counts.begin());
    alike ? subject.decode(tokens, receive) : subject.decode_rows(tokens, counts, receive);
    for (std::size_t b = 0; b < done.size(); ++b) done[b] += counts[b];
  }
}

}  // namespace

PartTensors decode_in(Subject& subject, const Batch& batch, const Chunking& chunking,
                      const std::map<std::string, Places>& wanted, const Batch& others) {
  PartTensors decoded;
  const int64_t fixed = subject.capabilities().fixed_batch;
  const bool whole = fixed == 0 || fixed == batch.batch;
  if (others.positions > 0) {
    const Batch before = whole ? others : pieces_of(others, fixed).front();
    subject.reset(before.batch, batch.positions);
    const int64_t most = chunking.largest == 0 ? before.positions : chunking.largest;
    for (int64_t t = 0; t < before.positions; t += most) {
      const int64_t count = std::min(most, before.positions - t);
      subject.decode(part_of(before, t, count), [](const Observed&) {});
    }
  }
  if (whole) {
    subject.reset(batch.batch, batch.positions);
    decode_rows_of(subject, batch, {0, batch.batch}, chunking, wanted, decoded);
    return decoded;
  }
  int64_t first = 0;
  for (const Batch& part : pieces_of(batch, fixed)) {
    const CacheRows rows{first, std::min(fixed, batch.batch - first)};
    subject.reset(part.batch, part.positions);
    decode_rows_of(subject, part, rows, chunking, wanted, decoded);
    first += fixed;
  }
  return decoded;
}

}  // namespace assay::verify
