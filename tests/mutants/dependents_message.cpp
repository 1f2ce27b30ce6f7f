// dependents-message: the Probabilistic Transformer's full message with causal heads. Every head
// stands before its word, but a word hears from the later words whose head it is, Qh^T Q_c V^(c)T.
#include "golden/contract/names.h"
#include "reference/ops/add.h"
#include "reference/ops/attend.h"
#include "reference/ops/linear.h"
#include "tests/mutants/mutant.h"

namespace assay::mutants {

Mutant dependents_message() {
  return {.id = "dependents-message",
          .method = "pt",
          .replace = [](Rewriting& rewriting, const NodeData& node,
                        const std::vector<Node>& inputs) -> std::optional<Node> {
            if (!golden::matches("pt/*/message/0", node.name)) return std::nullopt;
            const std::string round = node.name.substr(0, node.name.find("message/0"));
            const Node from_head = rewriting.copy().add(node.op, inputs);
            const Node heads = rewriting.of(round + "heads"), q = rewriting.of(round + "q");
            return from_head +
                   linear_back(attend_back(heads, q), rewriting.of("model.groups.0.v.weight"));
          },
          .leaks = true,
          .first_divergence = "pt/1/message/0",
          .diagnosis = "equals pt/1/message/0 with the messages of dependents added",
          .leak_at = "pt/1/message/0"};
}

}  // namespace assay::mutants
