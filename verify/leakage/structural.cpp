#include "verify/leakage/structural.h"

#include <fmt/format.h>

#include <map>
#include <optional>
#include <span>
#include <utility>

#include "golden/contract/error.h"
#include "reference/graph/op.h"
#include "reference/interpreters/dependence.h"

namespace assay::verify {
namespace {

using reference::Graph;
using reference::NodeData;
using reference::Relation;
using reference::Sources;

// Where a cell stands; -1 for an axis that its tensor does not have.
struct Place {
  int64_t b = -1, t = -1, s = -1;
};

Place place_of(const Relation& relation, int64_t cell) {
  Place place;
  for (std::size_t axis = relation.cell_axes().size(); axis-- > 0;) {
    const int64_t extent = relation.cell_shape()[axis], index = cell % extent;
    cell /= extent;
    switch (relation.cell_axes()[axis]) {
      case 'B':
        place.b = index;
        break;
      case 'T':
        place.t = index;
        break;
      case 'S':
        place.s = index;
        break;
      default:
        break;  // heads
    }
  }
  return place;
}

struct Source {
  std::string input;
  int64_t b, t;
};

Source source_of(const Sources& sources, int64_t index) {
  for (const Sources::Block& block : sources.blocks) {
    const int64_t offset = index - block.first;
    if (offset < golden::element_count(block.shape)) {
      return {block.input, offset / block.shape[1], offset % block.shape[1]};
    }
  }
  throw InternalError(fmt::format("source {} of {}", index, sources.count));
}

bool may_depend(const Allowed& allowed, const Place& place, const Source& source) {
  if (source.input == "labels") return place.t < 0;  // only a scalar
  if (place.t < 0) return true;
  if (place.b >= 0 && source.b != place.b) return false;
  const auto sees = [&](int64_t t) { return allowed ? allowed(t, source.t) : source.t <= t; };
  return sees(place.t) || (place.s >= 0 && sees(place.s));
}

using Bits = std::vector<uint64_t>;  // bit i % 64 of word i / 64 is source i

class Prover {
 public:
  Prover(const Graph& graph, const Allowed& allowed)
      : graph_(graph),
        allowed_(allowed),
        sources_(reference::make_sources(graph, {"tokens", "attention_mask", "labels"})),
        relations_(reference::dependences(graph, sources_)) {}

  ProofResult prove() {
    ProofResult result;
    result.check.name = "structural proof";
    for (int id = 0; id < static_cast<int>(graph_.nodes().size()) && !result.leaks; ++id) {
      if (graph_.node(id).op == nullptr) continue;
      ++result.nodes;
      result.cells += relation(id).cells();
      if (const auto leak = first_leak(id)) {
        result.leaks = true;
        result.first = leak->leak;
        result.witness = trace(id, leak->cell, leak->source);
      }
    }
    conclude(result);
    return result;
  }

 private:
  struct Found {
    Leak leak;
    int64_t cell, source;
  };

  const Relation& relation(int id) const { return relations_[static_cast<std::size_t>(id)]; }

  // The sources that a cell of row b and position t may depend on, each -1 where it has none.
  const Bits& allowed_to(int64_t b, int64_t t) {
    Bits& bits = allowed_bits_[{b, t}];
    if (!bits.empty()) return bits;
    bits.assign(static_cast<std::size_t>(sources_.count + 63) / 64, 0);
    for (int64_t index = 0; index < sources_.count; ++index) {
      if (!may_depend(allowed_, {.b = b, .t = t}, source_of(sources_, index))) continue;
      bits[static_cast<std::size_t>(index / 64)] |= uint64_t{1} << (index % 64);
    }
    return bits;
  }

  bool depends_on_more(const Relation& relation, int64_t cell, const Place& place) {
    const Bits& by_t = allowed_to(place.b, place.t);
    const Bits& by_s = place.t >= 0 && place.s >= 0 ? allowed_to(place.b, place.s) : by_t;
    const std::span<const uint64_t> bits = relation.source_bits(cell);
    for (std::size_t w = 0; w < bits.size(); ++w) {
      if ((bits[w] & ~(by_t[w] | by_s[w])) != 0) return true;
    }
    return false;
  }

  std::optional<Found> first_leak(int id) {
    const NodeData& node = graph_.node(id);
    std::optional<Found> found;
    for (int64_t cell = 0; cell < relation(id).cells(); ++cell) {
      const Place place = place_of(relation(id), cell);
      if (!depends_on_more(relation(id), cell, place)) continue;
      for (const int64_t index : relation(id).sources_of(cell)) {
        const Source source = source_of(sources_, index);
        if (may_depend(allowed_, place, source)) continue;
        if (found &&
            (found->leak.t < place.t || (found->leak.t == place.t && found->leak.s <= source.t))) {
          continue;
        }
        found = {{.node = graph_.describe(id),
                  .op = node.op->name(),
                  .input = source.input,
                  .b = place.b,
                  .t = place.t,
                  .from_b = source.b,
                  .s = source.t},
                 cell,
                 index};
      }
    }
    return found;
  }

  // Walks from the cell to the source: at each node to the first operand with a cell that carries
  // it. Cells are matched by scanning, since only the operation's rule knows which operand cells it
  // read.
  std::vector<std::string> trace(int id, int64_t cell, int64_t source) const {
    std::vector<std::string> lines;
    const Source from = source_of(sources_, source);
    int64_t at = cell;
    while (true) {
      const Place place = place_of(relation(id), at);
      lines.push_back(graph_.node(id).op == nullptr
                          ? fmt::format("{}[{},{}]", from.input, from.b, from.t)
                          : fmt::format("{}{}", graph_.describe(id), position(place)));
      if (graph_.node(id).op == nullptr) return lines;
      const auto next = carrier(id, place, source);
      if (!next) return lines;
      id = next->first;
      at = next->second;
    }
  }

  // An operand's cell that carries the source; one at the place we come from, if there is one.
  std::optional<std::pair<int, int64_t>> carrier(int id, const Place& here, int64_t source) const {
    std::optional<std::pair<int, int64_t>> any;
    for (const int input : graph_.node(id).inputs) {
      for (int64_t cell = 0; cell < relation(input).cells(); ++cell) {
        if (!relation(input).depends(cell, source)) continue;
        const Place there = place_of(relation(input), cell);
        if (there.t == here.t) return std::pair{input, cell};
        if (!any) any = {input, cell};
      }
    }
    return any;
  }

  static std::string position(const Place& place) {
    std::string text;
    if (place.t >= 0) text += fmt::format("[t={}", place.t);
    if (place.s >= 0) text += fmt::format(",s={}", place.s);
    return text.empty() ? text : text + "]";
  }

  bool logits_see_tokens() const {
    const int logits = graph_.find("logits");
    if (logits < 0) return false;
    for (int64_t cell = 0; cell < relation(logits).cells(); ++cell) {
      if (relation(logits).sources_of(cell).empty()) return false;
    }
    return relation(logits).cells() > 0;
  }

  void conclude(ProofResult& result) const {
    Check& check = result.check;
    if (result.leaks) {
      const Leak& leak = result.first;
      check.status = Status::fail;
      check.summary = leak.b >= 0 && leak.from_b != leak.b
                          ? fmt::format("cross-talk at {} ({}): row {} sees {} of row {}",
                                        leak.node, leak.op, leak.b, leak.input, leak.from_b)
                          : fmt::format("leak at {} ({}), first pair ({} <- {}) of {}", leak.node,
                                        leak.op, leak.t, leak.s, leak.input);
      check.details = {"witness, from the leak back to its source:"};
      for (const std::string& line : result.witness) check.details.push_back("  " + line);
    } else if (result.cells == 0 || !logits_see_tokens()) {
      check.status = Status::inconclusive;
      check.summary = result.cells == 0 ? "the graph has nothing to examine"
                                        : "some logits do not depend on any token";
    } else {
      check.status = Status::pass;
      check.summary = fmt::format(
          "causal for all inputs: {} nodes, {} cells, {} sources; holds for the method, not for an "
          "implementation of it",
          result.nodes, result.cells, sources_.count);
    }
  }

  const Graph& graph_;
  const Allowed& allowed_;
  Sources sources_;
  std::vector<Relation> relations_;
  std::map<std::pair<int64_t, int64_t>, Bits> allowed_bits_;
};

}  // namespace

ProofResult prove_causality(const Graph& graph, const Allowed& allowed) {
  return Prover(graph, allowed).prove();
}

}  // namespace assay::verify
