// A method is written once, as a graph of operations on named tensors. The graph has shapes, axes
// and names but no arithmetic; interpreters walk it and know no operation by name.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <unordered_map>
#include <vector>

#include "golden/contract/tensor.h"

namespace assay::reference {

using golden::Shape;

class Op;  // ops/op.h

// What the shape rule of an operation works on. One letter per axis: B batch, H query head,
// G key/value head, T query position, S key position, D any feature axis.
struct Operand {
  Shape shape;
  std::string axes;
};

struct NodeData {
  std::shared_ptr<const Op> op;  // null for an input of the graph
  std::vector<int> inputs;       // ids of earlier nodes
  Operand result;
  std::string name;     // "" for an intermediate that docs/tensors.md does not name
  bool weight = false;  // an input that is a parameter

  const Shape& shape() const { return result.shape; }
};

class Graph;

// A handle; cheap to copy. Arithmetic on handles adds nodes.
struct Node {
  Graph* graph = nullptr;
  int id = -1;

  const NodeData& data() const;
  const Shape& shape() const;
};

class Graph {
 public:
  Graph() = default;
  Graph(const Graph&) = delete;  // handles point to the graph
  Graph& operator=(const Graph&) = delete;

  // tokens, labels, attention_mask: [B,T] tensors whose elements are whole numbers.
  Node input(const std::string& name, Shape shape, std::string axes);
  // A parameter under its Hugging Face name. The same name gives the same node.
  Node weight(const std::string& name, Shape shape);
  Node add(std::shared_ptr<const Op> op, const std::vector<Node>& inputs);
  // Gives a node its name in docs/tensors.md. A node has one name, a name one node.
  Node name(Node node, const std::string& name);

  const std::vector<NodeData>& nodes() const { return nodes_; }
  const NodeData& node(int id) const { return nodes_[static_cast<std::size_t>(id)]; }
  int find(const std::string& name) const;  // -1 if there is none

  // "layers/1/mlp_norm", or for an unnamed node "rms_norm (before layers/1/mlp_norm)".
  std::string describe(int id) const;

 private:
  int append(NodeData node);

  std::vector<NodeData> nodes_;
  std::unordered_map<std::string, int> by_name_;
};

}  // namespace assay::reference
