#include "jit/views.h"

#include <algorithm>
#include <set>
#include <utility>

#include "ops/error.h"
#include "ops/op.h"

namespace athanor {
namespace {

Digits Flatten(const Layout& layout) {
  Digits flat;
  for (int d = layout.rank() - 1; d >= 0; --d) flat.insert(flat.end(), layout.dim(d).begin(), layout.dim(d).end());
  return flat;
}

OpCall CallOf(const Graph& graph, const Node& node) { return {*node.op, graph, node.inputs, node.attrs}; }

// The views of the outputs of a view node, given that of its input; nothing when they have no separable form.
std::optional<std::vector<Layout>> ViewOutputs(const Graph& graph, const Node& node, const Layout& input) {
  return node.op->view(CallOf(graph, node), input);
}

// Rebuilds a graph node by node, tracking views on the way.
class CopyInserter {
 public:
  CopyInserter(const Graph& source, const std::vector<InPlace>& in_place, const ExtraCopies& extra)
      : source_(source),
        in_place_(in_place),
        extra_(extra),
        source_views_(ResolveViews(source)),
        result_(source.name()),
        map_(source.values().size(), kNone),
        suits_pieces_(source.values().size(), extra.read_in_pieces) {
    FindReaders();
  }

  Graph Run() {
    for (ValueId id = 0; id < static_cast<ValueId>(source_.values().size()); ++id) {
      const Value& value = source_.value(id);
      if (value.is_input) Define(id, result_.AddInput(value.name, value.desc, value.wants_grad));
      if (value.constant) Define(id, result_.AddConstant(*value.constant, value.desc.dtype));
    }
    for (ValueId input : source_.inputs()) {
      if (extra_.inputs.count(source_.value(input).name)) map_[input] = Copy(map_[input]);
    }
    for (const Node& node : source_.nodes()) AddNode(node);
    for (const NamedValue& output : source_.outputs()) AddOutput(output);
    return std::move(result_);
  }

 private:
  static constexpr int kMostProducts = 2;                    // that read pieces as A, which they would read in place otherwise

  // Values that products and pointwise nodes read, through whatever views, and nothing else.
  void FindReaders() {
    std::vector<int> products(source_.values().size());
    for (const NamedValue& output : source_.outputs()) suits_pieces_[output.value] = false;
    for (auto node = source_.nodes().rbegin(); node != source_.nodes().rend(); ++node) {
      const OpKind kind = node->op->kind;
      for (ValueId v : node->inputs) {
        if (v == kNone) continue;
        products[v] += kind == OpKind::kContract && v == node->inputs[0];
        if (kind == OpKind::kView) {
          for (ValueId output : node->outputs) products[v] += products[output], suits_pieces_[v] = suits_pieces_[v] && suits_pieces_[output];
        } else if (kind != OpKind::kContract && kind != OpKind::kPointwise) {
          suits_pieces_[v] = false;
        }
        if (products[v] > kMostProducts) suits_pieces_[v] = false;
      }
    }
  }

  // What windows and gathers read in rows and columns that are not the ones being computed: their dimensions must have one stride each.
  static bool ReadsElsewhere(const Node& node) { return node.op->kind == OpKind::kWindow || node.op->kind == OpKind::kGather; }
  static std::vector<int64_t> PlainDims(const Node& node) {
    return node.op->kind == OpKind::kWindow ? Get<std::vector<int64_t>>(node.attrs, "dim") : std::vector<int64_t>{0};
  }
  static bool ArePlain(const Layout& layout, const std::vector<int64_t>& dims) {
    return std::all_of(dims.begin(), dims.end(), [&](int64_t d) { return Coalesce(layout.dim(static_cast<int>(d))).size() <= 1; });
  }

  // Whether windows and gathers can read a root where `place` puts it.
  bool CanBeReadAt(ValueId root, const Layout& place) const {
    return std::all_of(source_.nodes().begin(), source_.nodes().end(), [&](const Node& node) {
      if (!ReadsElsewhere(node)) return true;
      const ViewOf& read = source_views_[node.inputs[0]];
      if (map_[read.root] != root) return true;
      const std::optional<Layout> layout = place.Compose(read.layout);
      return layout && ArePlain(*layout, PlainDims(node));
    });
  }

  bool SuitsPieces(const Node& node, const std::vector<ValueId>& parts) const {
    return suits_pieces_[node.outputs[0]] && std::all_of(parts.begin(), parts.end(), [&](ValueId part) {
      return result_.value(views_[part].root).is_input;
    });
  }

  bool IsPlain(const ViewOf& view) const {
    const std::optional<Layout> back = Invert(view.layout, source_.desc(view.root).elements());
    return back && Coalesce(back->dim(0)).size() <= 1;
  }

  bool LivesInInput(const NamedValue& output, const std::string& input) const {
    return std::any_of(in_place_.begin(), in_place_.end(), [&](const InPlace& pair) { return pair.output == output.name && pair.input == input; });
  }

  bool ReadOnlyBy(const Node& reader, ValueId root) const {
    const auto is_root = [&](ValueId v) { return v != kNone && source_views_[v].root == root; };
    for (const Node& node : source_.nodes()) {
      if (node.op->kind == OpKind::kView && is_root(node.outputs[0])) continue;
      if (std::count_if(node.inputs.begin(), node.inputs.end(), is_root) != (&node == &reader ? 1 : 0)) return false;
    }
    return std::none_of(source_.outputs().begin(), source_.outputs().end(), [&](const NamedValue& output) { return is_root(output.value); });
  }

  // A _scatter_rows whose table is where its result belongs already.
  bool UpdatesInput(const Node& node) const {
    const ViewOf& table = source_views_[node.inputs[2]];
    const auto output = std::find_if(source_.outputs().begin(), source_.outputs().end(),
                                     [&](const NamedValue& o) { return source_views_[o.value].root == node.outputs[0]; });
    return output != source_.outputs().end() && source_.value(table.root).is_input && LivesInInput(*output, source_.value(table.root).name) &&
           IsPlain(table) && IsPlain(source_views_[output->value]) && ReadOnlyBy(node, table.root);
  }

  void Define(ValueId from, ValueId to) {
    map_[from] = to;
    views_.resize(result_.values().size());
    views_[to] = {to, Layout::Contiguous(result_.desc(to).shape)};
  }

  ValueId Copy(ValueId value) {
    ValueId copy = result_.Add1("cast", {value}, {{"dtype", std::string(Name(result_.desc(value).dtype))}});
    views_.resize(result_.values().size());
    views_[copy] = {copy, Layout::Contiguous(result_.desc(copy).shape)};
    return copy;
  }

  bool IsWholeRoot(ValueId value) const {
    const ViewOf& view = views_[value];
    return result_.value(view.root).producer != kNone &&
           Invert(view.layout, result_.desc(view.root).elements()).has_value();
  }

  // True when the producer of the value's root can write it where the value belongs: a scatter only rows as they are.
  bool CanBePlaced(ValueId value, bool part) const {
    if (!IsWholeRoot(value)) return false;
    const ViewOf& view = views_[value];
    const TensorDesc& root = result_.desc(view.root);
    if (result_.node(result_.value(view.root).producer).op->kind != OpKind::kScatter) return true;
    return !part && Coalesce(Invert(view.layout, root.elements())->dim(0)).size() <= 1;
  }

  // True when the producers of a concatenation's parts can write them where they belong, with `layout` its place in memory. Of any other value, true.
  bool PartsFit(ValueId root, const Layout& layout) const {
    const NodeId producer = result_.value(root).producer;
    if (producer == kNone || result_.node(producer).op->kind != OpKind::kConcat) return true;
    const Node& node = result_.node(producer);
    const int64_t dim = Get<int64_t>(node.attrs, "dim");
    const int along = static_cast<int>(dim < 0 ? dim + layout.rank() : dim);
    int64_t start = 0;
    for (ValueId part : node.inputs) {
      const int64_t extent = result_.desc(part).shape[along];
      const std::optional<Layout> slice = layout.Slice(along, start, extent, 1);
      if (!slice || !PartFits(part, *slice)) return false;
      start += extent;
    }
    return true;
  }

  // The same of a value whose root's producer writes it, as it is seen through its views, to `layout`.
  bool PartFits(ValueId value, const Layout& layout) const {
    const ViewOf& view = views_[value];
    const TensorDesc& root = result_.desc(view.root);
    std::optional<Layout> place = Invert(view.layout, root.elements());
    if (place) place = place->Compose(Layout::Contiguous(root.shape));
    if (place) place = layout.Compose(*place);
    return place && CanBeReadAt(view.root, *place) && PartsFit(view.root, *place);
  }

  // One stride along each of the dimensions of a stored value, as windows and the rows of gathers need.
  bool HasPlainDims(ValueId value, const std::vector<int64_t>& dims) const {
    const ViewOf& view = views_[value];
    const Value& root = result_.value(view.root);
    std::optional<Layout> layout = view.layout;
    if (!root.desc.strides.empty()) layout = Layout::Strided(root.desc.shape, root.desc.strides).Compose(view.layout);
    return !root.constant && layout && ArePlain(*layout, dims);
  }

  // Copies the parts of a concatenation that can't be written in place.
  void PlaceParts(const Node& node, std::vector<ValueId>* parts) {
    const Layout whole = Layout::Contiguous(source_.desc(node.outputs[0]).shape);
    const int64_t dim = Get<int64_t>(node.attrs, "dim");
    const int along = static_cast<int>(dim < 0 ? dim + whole.rank() : dim);
    int64_t start = 0;
    for (ValueId& part : *parts) {
      const int64_t extent = result_.desc(part).shape[along];
      const bool fits = CanBePlaced(part, true) && PartFits(part, *whole.Slice(along, start, extent, 1));
      if (!fits || !placed_.insert(views_[part].root).second) part = Copy(part), placed_.insert(part);
      start += extent;
    }
  }

  void AddNode(const Node& node) {
    result_.SetOrigin(node.origin);
    std::vector<ValueId> inputs;
    for (ValueId input : node.inputs) inputs.push_back(input == kNone ? kNone : map_[input]);
    if (node.op->kind == OpKind::kConcat && !SuitsPieces(node, inputs)) PlaceParts(node, &inputs);
    const bool overwrites_copy = node.op->kind == OpKind::kScatter && inputs.size() > 2 && !UpdatesInput(node);
    if (overwrites_copy) inputs[2] = Copy(inputs[2]);
    if (node.op->kind == OpKind::kAttention || node.op->kind == OpKind::kScatter) {
      for (ValueId& input : inputs) {                        // read from memory, where constants have no place
        if (input != kNone && result_.value(views_[input].root).constant) input = Copy(input);
      }
    }
    if (ReadsElsewhere(node) && !HasPlainDims(inputs[0], PlainDims(node))) inputs[0] = Copy(inputs[0]);
    std::vector<ValueId> outputs = result_.Add(node.op->name, inputs, node.attrs);
    if (overwrites_copy) KeepOutOfInputs(node, outputs[0]);
    views_.resize(result_.values().size());
    std::optional<std::vector<Layout>> layouts;
    if (node.op->kind == OpKind::kView) {
      layouts = ViewOutputs(result_, result_.nodes().back(), views_[inputs[0]].layout);
      if (!layouts) return AddViewOfCopy(node, inputs);
    }
    for (size_t i = 0; i < outputs.size(); ++i) {
      map_[node.outputs[i]] = outputs[i];
      views_[outputs[i]] = layouts ? ViewOf{views_[inputs[0]].root, (*layouts)[i]}
                                   : ViewOf{outputs[i], Layout::Contiguous(result_.desc(outputs[i]).shape)};
    }
  }

  void AddViewOfCopy(const Node& node, std::vector<ValueId> inputs) {
    inputs[0] = Copy(inputs[0]);
    std::vector<ValueId> outputs = result_.Add(node.op->name, inputs, node.attrs);
    views_.resize(result_.values().size());
    auto layouts = ViewOutputs(result_, result_.nodes().back(), views_[inputs[0]].layout);
    ATHANOR_CHECK(layouts);
    for (size_t i = 0; i < outputs.size(); ++i) {
      map_[node.outputs[i]] = outputs[i];
      views_[outputs[i]] = {inputs[0], (*layouts)[i]};
    }
  }

  // The copy of a table is made before the input whose memory an output shares has had its last reader.
  void KeepOutOfInputs(const Node& node, ValueId result) {
    for (const NamedValue& output : source_.outputs()) {
      const bool in_place = std::any_of(in_place_.begin(), in_place_.end(), [&](const InPlace& pair) { return pair.output == output.name; });
      if (in_place && source_views_[output.value].root == node.outputs[0]) placed_.insert(result);
    }
  }

  void AddOutput(const NamedValue& output) {
    ValueId value = map_[output.value];
    if (extra_.outputs.count(output.name)) {
      if (result_.value(views_[value].root).producer == kNone) value = Copy(value);
      value = Copy(value);
      placed_.insert(value);
      return result_.AddOutput(output.name, value);
    }
    const bool fits = CanBePlaced(value, false) && PartFits(value, Layout::Contiguous(result_.desc(value).shape));
    if (!fits || !placed_.insert(views_[value].root).second) value = Copy(value), placed_.insert(value);
    result_.AddOutput(output.name, value);
  }

  const Graph& source_;
  const std::vector<InPlace>& in_place_;
  const ExtraCopies& extra_;
  const std::vector<ViewOf> source_views_;
  Graph result_;
  std::vector<ValueId> map_;
  std::vector<ViewOf> views_;                                // of the result's values
  std::vector<bool> suits_pieces_;                           // by value of the source
  std::set<ValueId> placed_;                                 // roots whose storage an output or a concatenation has claimed
};

}  // namespace

std::vector<ViewOf> ResolveViews(const Graph& graph) {
  std::vector<ViewOf> views(graph.values().size());
  for (ValueId id = 0; id < static_cast<ValueId>(views.size()); ++id) {
    views[id] = {id, Layout::Contiguous(graph.desc(id).shape)};
  }
  for (const Node& node : graph.nodes()) {
    if (node.op->kind != OpKind::kView) continue;
    const ViewOf& input = views[node.inputs[0]];
    auto layouts = ViewOutputs(graph, node, input.layout);
    // A view that InsertCopies gave up on has no readers left.
    if (!layouts) continue;
    for (size_t i = 0; i < node.outputs.size(); ++i) views[node.outputs[i]] = {input.root, (*layouts)[i]};
  }
  return views;
}

std::optional<Layout> Invert(const Layout& layout, int64_t n) {
  if (layout.offset() != 0) return std::nullopt;
  if (n == 0) return Layout(0, {{{0, 1}}});
  struct Placed {
    Digit digit;
    int64_t position;                                        // stride of the digit in the flat index of layout's space
  };
  std::vector<Placed> placed;
  int64_t position = 1;
  for (const Digit& digit : Flatten(layout)) {
    if (digit.extent > 1) placed.push_back({digit, position});
    position *= digit.extent;
  }
  if (position != n) return std::nullopt;
  std::sort(placed.begin(), placed.end(), [](const Placed& a, const Placed& b) { return a.digit.stride < b.digit.stride; });
  Digits inverse;
  int64_t stride = 1;
  for (const Placed& p : placed) {
    if (p.digit.stride != stride) return std::nullopt;
    inverse.push_back({p.digit.extent, p.position});
    stride *= p.digit.extent;
  }
  return Layout(0, {Coalesce(inverse)});
}

Graph InsertCopies(const Graph& graph, const std::vector<InPlace>& in_place, const ExtraCopies& extra) {
  return CopyInserter(graph, in_place, extra).Run();
}

bool IsReadInPieces(const Graph& graph, const std::vector<ViewOf>& views, const Node& node) {
  return node.op->kind == OpKind::kConcat && graph.value(views[node.inputs[0]].root).is_input;
}

}  // namespace athanor
