#pragma once

#include <functional>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "jit/body.h"
#include "jit/views.h"
#include "ops/graph.h"

namespace athanor {

// Thrown when no access map leads through `value`: it must be stored, and the fusion tried again.
struct NeedsStorage {
  ValueId value = kNone;
};

// Where a stored value lives: `layout` maps the index space of the root to elements of the buffer.
struct Storage {
  int buffer = -1;
  Layout layout;
};

// Writes the expressions of one Body, from graph values read at access maps of its iteration space.
class BodyBuilder {
 public:
  // What the builder must know of the kernel around it.
  struct Context {
    const Graph& graph;
    const std::vector<ViewOf>& views;
    std::function<Storage(ValueId root)> storage;            // may throw NeedsStorage
    std::function<bool(NodeId)> computed_here;               // part of this kernel, or inlined: not loaded
    std::function<int(int buffer)> arg;                      // the kernel's argument for a buffer
    ValueId accumulator = kNone;                             // contract epilogues: the contraction's result
    int reduced_dim = -1;                                    // the dimension that row statistics fold
  };

  BodyBuilder(std::vector<int64_t> extents, Context context);

  // The expression of `value` at `map`: iteration space -> flat row-major index of `value`. Equal requests share a node.
  int Read(ValueId value, const Layout& map);
  int AddExpr(const Expr& expr);
  void AddStore(int expr, Operand operand, int64_t begin = 0, int64_t end = -1, int along = -1);
  Layout Identity() const { return Layout::Contiguous(body_.extents); }
  const Body& body() const { return body_; }
  Body Take() { return std::move(body_); }

 private:
  int ReadRoot(ValueId root, const Layout& map);
  int ReadNode(NodeId node, const Layout& map);
  // Read for something that is computed from it in the same loops. What is reduced over the rows can only be stored: it is known after the last one.
  int ReadTerm(ValueId value, const Layout& map);
  int Apply(NodeId node, const Layout& map);
  int ReadReduction(NodeId node, const Layout& map);
  int ReduceAll(NodeId node);
  int Index(NodeId node, const Layout& map);
  int Random(NodeId node, const Layout& map);
  int AddressOf(const Layout& layout, ValueId blocked);
  int AddApply(Fn fn, DType dtype, std::array<int, 3> args);
  int AddConstant(double value, DType dtype);
  int Gather(NodeId node, const Layout& map);
  int Window(NodeId node, const Layout& map);
  int Pieces(NodeId node, const Layout& map);
  int AddLoad(Operand operand, DType dtype);
  int Load(ValueId root, const Layout& map);
  Layout Through(const Layout& layout, const Layout& map, ValueId blocked) const;

  Body body_;
  Context context_;
  std::map<std::pair<ValueId, std::string>, int> memo_;
};

}  // namespace athanor
