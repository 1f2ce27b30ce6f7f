// The loop of every interpreter that differentiates backwards.
#pragma once

#include <vector>

#include "reference/graph/graph.h"
#include "reference/graph/op.h"

namespace assay::reference {

// Which nodes lie between a parameter and the loss: the others get no gradient.
std::vector<bool> on_the_way(const Graph& graph, int loss);

// Which of its operands a node's gradient rule reads, or their makers' rules read as results, when
// the node's operands are at hand. keep(i) is called for each of them.
template <class Keep>
void for_kept_operands(const Graph& graph, const std::vector<bool>& wanted, int id, Keep&& keep) {
  const NodeData& node = graph.node(id);
  for (std::size_t i = 0; i < node.inputs.size(); ++i) {
    const NodeData& made = graph.node(node.inputs[i]);
    const bool by_reader = wanted[static_cast<std::size_t>(id)] && node.op->gradient_reads(i);
    const bool by_maker = wanted[static_cast<std::size_t>(node.inputs[i])] && made.op != nullptr &&
                          made.op->gradient_reads_result();
    if (by_reader || by_maker) keep(i);
  }
}

// From the loss backwards: every node has its whole gradient when it is reached, because all that
// read it come later in the graph.
//
//   A        what the interpreter holds for a gradient; has absent()
//   zeros    A zeros(const Shape&)
//   one      sets the gradient of the loss with respect to itself
//   read     A read(int id): a value that a rule reads, or its shape alone
//   observe  A observe(int id, A gradient): what the rules read for it
//   rule     rule(const NodeData&, operands, result, gradient, operand gradients): adds to the last
//   done     done(int id): neither its value nor its gradient is read again
template <class A, class Zeros, class One, class Read, class Observe, class Rule, class Done>
void run_backwards(const Graph& graph, int loss, const std::vector<bool>& wanted, Zeros&& zeros,
                   One&& one, Read&& read, Observe&& observe, Rule&& rule, Done&& done) {
  std::vector<A> grads(graph.nodes().size());
  const auto gradient_of = [&](int id) -> A& {
    A& grad = grads[static_cast<std::size_t>(id)];
    if (wanted[static_cast<std::size_t>(id)] && grad.absent()) grad = zeros(graph.node(id).shape());
    return grad;
  };
  one(gradient_of(loss));
  for (int id = loss; id >= 0; --id) {
    const NodeData& node = graph.node(id);
    A& grad = grads[static_cast<std::size_t>(id)];
    if (!grad.absent()) {
      grad = observe(id, std::move(grad));
      if (node.op != nullptr) {
        // An operand read twice by one node (x + x) appears twice here with one storage, and adds
        // twice.
        std::vector<A> operands, operand_grads;
        for (const int input : node.inputs) {
          operands.push_back(read(input));
          operand_grads.push_back(gradient_of(input));
        }
        rule(node, operands, read(id), grad, operand_grads);
      }
      grad = A();
    }
    done(id);
  }
}

}  // namespace assay::reference
