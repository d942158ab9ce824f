#include "jit/storage_planner.h"

#include <algorithm>
#include <optional>

#include "ops/error.h"
#include "ops/op.h"

namespace athanor {

StoragePlanner::StoragePlanner(const Graph& graph, const std::vector<ViewOf>& views, const std::vector<InPlace>& in_place,
                               const std::set<ValueId>& contiguous)
    : graph_(graph), views_(views), contiguous_(contiguous) {
  std::map<std::string, int> by_name;
  for (ValueId input : graph.inputs()) {
    const Value& value = graph.value(input);
    const int buffer = AddBuffer(Program::Buffer::Role::kInput, value.name, input, value.desc.storage_elements());
    by_name[value.name] = buffer;
    const auto strides = value.desc.strides.empty() ? ContiguousStrides(value.desc.shape) : value.desc.strides;
    placed_[input] = {buffer, Layout::Strided(value.desc.shape, strides)};
  }
  for (const NamedValue& output : graph.outputs()) {
    const ViewOf& view = views[output.value];
    const TensorDesc& desc = graph.desc(view.root);
    const int buffer = AddBuffer(Program::Buffer::Role::kOutput, output.name, view.root, desc.elements());
    std::optional<Layout> inverse = Invert(view.layout, desc.elements());
    if (inverse) inverse = inverse->Compose(Layout::Contiguous(desc.shape));
    ATHANOR_CHECK(inverse);                                  // InsertCopies saw to it
    placed_[view.root] = {buffer, *inverse};
    for (const InPlace& pair : in_place) {
      if (pair.output == output.name) buffers_[buffer].alias = by_name.at(pair.input);
    }
  }
  for (const Node& node : graph.nodes()) {
    if (node.op->kind == OpKind::kScatter && node.inputs.size() > 2) updated_[views[node.inputs[2]].root] = node.outputs[0];
    if (node.op->kind != OpKind::kConcat) continue;
    const TensorDesc& whole = graph.desc(node.outputs[0]);
    const int64_t dim = Get<int64_t>(node.attrs, "dim");
    Part part{node.outputs[0], static_cast<int>(dim < 0 ? dim + whole.rank() : dim), 0, kNone};
    for (ValueId value : node.inputs) {
      part.value = value;
      parts_[views[value].root] = part;
      part.start += graph.desc(value).shape[part.dim];
    }
  }
}

Storage StoragePlanner::Of(ValueId root) {
  if (auto found = placed_.find(root); found != placed_.end()) return found->second;
  Storage storage = Place(root);
  placed_[root] = storage;
  return storage;
}

Storage StoragePlanner::Place(ValueId root) {
  if (auto part = parts_.find(root); part != parts_.end()) return PlacePart(root, part->second);
  if (auto result = updated_.find(root); result != updated_.end()) return Of(result->second);
  const TensorDesc& desc = graph_.desc(root);
  return {AddBuffer(Program::Buffer::Role::kTemporary, "", root, desc.elements()), ReaderOrder(root)};
}

Storage StoragePlanner::PlacePart(ValueId root, const Part& part) {
  const Storage whole = Of(part.whole);
  const TensorDesc& desc = graph_.desc(part.value);
  const ViewOf& view = views_[part.value];
  std::optional<Layout> slice = whole.layout.Slice(part.dim, part.start, desc.shape[part.dim], 1);
  std::optional<Layout> inverse = Invert(view.layout, desc.elements());
  if (inverse) inverse = inverse->Compose(Layout::Contiguous(graph_.desc(root).shape));
  if (slice && inverse) slice = slice->Compose(*inverse);
  if (!slice || !inverse) {                                  // stored plainly, the whole of all that this is part of has room for each part
    ValueId outermost = part.whole;
    for (auto outer = parts_.find(outermost); outer != parts_.end(); outer = parts_.find(outermost)) outermost = outer->second.whole;
    throw NeedsStorage{outermost};
  }
  return {whole.buffer, *slice};
}

// Attention and concatenations can write any order of whole rows: the one in which a product reads them is the best.
Layout StoragePlanner::ReaderOrder(ValueId root) const {
  const TensorDesc& desc = graph_.desc(root);
  const Layout plain = Layout::Contiguous(desc.shape);
  const NodeId producer = graph_.value(root).producer;
  const OpKind kind = producer == kNone ? OpKind::kView : graph_.node(producer).op->kind;
  if ((kind != OpKind::kAttention && kind != OpKind::kConcat) || contiguous_.count(root)) return plain;
  for (const Node& node : graph_.nodes()) {
    if (node.op->kind != OpKind::kContract) continue;
    for (ValueId v : node.inputs) {
      if (views_[v].root != root || views_[v].layout.rank() == 0) continue;
      const Digits& last = views_[v].layout.dim(views_[v].layout.rank() - 1);
      if (last.empty() || last[0].stride != 1) continue;     // this reader runs across the rows
      std::optional<Layout> inverse = Invert(views_[v].layout, desc.elements());
      if (inverse) inverse = inverse->Compose(plain);
      if (inverse) return *inverse;
    }
  }
  return plain;
}

int StoragePlanner::AddBuffer(Program::Buffer::Role role, std::string name, ValueId value, int64_t elements) {
  buffers_.push_back({role, std::move(name), graph_.desc(value).dtype, elements});
  return static_cast<int>(buffers_.size()) - 1;
}

}  // namespace athanor
