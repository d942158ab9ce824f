#include "jit/plan_builder.h"

#include <algorithm>
#include <map>
#include <optional>
#include <set>
#include <utility>

#include "jit/body_builder.h"
#include "jit/foreach.h"
#include "jit/fuse.h"
#include "jit/in_place.h"
#include "jit/iteration_space.h"
#include "jit/reduction.h"
#include "jit/storage_planner.h"
#include "ops/attention.h"
#include "ops/emit.h"
#include "ops/error.h"
#include "ops/op.h"

namespace athanor {
namespace {

// Builds the kernels of one fusion, last kernel first, so that each knows which of its results are read later.
class PlanBuilder {
 public:
  PlanBuilder(const Graph& graph, const std::vector<ViewOf>& views, const Fusion& fusion, StoragePlanner& storage)
      : graph_(graph), views_(views), fusion_(fusion), storage_(storage) {
    for (const NamedValue& output : graph.outputs()) wanted_.insert(views[output.value].root);
    for (const Node& node : graph.nodes()) {
      if (node.op->kind != OpKind::kConcat || IsReadInPieces(graph, views, node)) continue;
      for (ValueId part : node.inputs) wanted_.insert(views[part].root);
    }
  }

  // `blocked`: values that have to be stored first; with any, the plans are of no use.
  std::vector<KernelPlan> Run(std::set<ValueId>* blocked) {
    std::vector<KernelPlan> kernels;
    for (cluster_ = static_cast<int>(fusion_.clusters.size()) - 1; cluster_ >= 0; --cluster_) {
      plan_ = KernelPlan();
      try {
        Build(fusion_.clusters[cluster_]);
        plan_.bytes = Bytes();
        kernels.push_back(std::move(plan_));
      } catch (const NeedsStorage& needed) {
        blocked->insert(needed.value);
      }
    }
    std::reverse(kernels.begin(), kernels.end());
    return kernels;
  }

 private:
  const TensorDesc& Desc(ValueId v) const { return graph_.desc(v); }
  ValueId Result(NodeId n) const { return graph_.node(n).outputs[0]; }

  void Build(const Cluster& cluster) {
    for (NodeId n : cluster.Members()) {
      plan_.nodes.push_back(fmt::format("{} {}", graph_.node(n).op->name, graph_.value(Result(n)).name));
    }
    plan_.origin = graph_.node(cluster.anchor != kNone ? cluster.anchor : cluster.nodes[0]).origin;
    switch (cluster.kind) {
      case Cluster::Kind::kContract: return BuildContract(cluster);
      case Cluster::Kind::kAttention: return BuildAttention(graph_.node(cluster.anchor));
      case Cluster::Kind::kScatter: return BuildScatter(graph_.node(cluster.anchor));
      case Cluster::Kind::kLoop: return BuildLoop(cluster);
    }
  }

  double Bytes() const {
    double bytes = 0;
    for (const KernelArg& arg : plan_.args) bytes += static_cast<double>(arg.elements * SizeOf(arg.dtype));
    const auto* scatter = std::get_if<ScatterPlan>(&plan_.detail);
    if (scatter != nullptr && !scatter->adds) {              // of the table, only the rows
      bytes += static_cast<double>((scatter->rows * scatter->columns - plan_.args[scatter->out.arg].elements) * SizeOf(scatter->dtype));
    }
    return bytes;
  }

  int Arg(int buffer, bool written) {
    auto found = std::find_if(plan_.args.begin(), plan_.args.end(), [&](const KernelArg& a) { return a.buffer == buffer; });
    if (found == plan_.args.end()) {
      const Program::Buffer& b = storage_.buffers()[buffer];
      found = plan_.args.insert(found, {b.dtype, false, b.elements, buffer});
    }
    (written ? found->written : found->read) = true;
    return static_cast<int>(found - plan_.args.begin());
  }

  // A stored root, for reading in the current kernel.
  Storage Load(ValueId root) {
    const NodeId producer = graph_.value(root).producer;
    if (producer != kNone && fusion_.cluster_of[producer] == cluster_) throw NeedsStorage{root};
    wanted_.insert(root);
    return storage_.Of(root);
  }

  BodyBuilder::Context ContextFor(const std::vector<NodeId>& here) {
    std::set<NodeId> nodes(here.begin(), here.end());
    return {graph_, views_, [this](ValueId root) { return Load(root); },
            [this, nodes](NodeId n) {
              const Node& node = graph_.node(n);
              return nodes.count(n) || (fusion_.cluster_of[n] < 0 &&
                                        (node.op->kind != OpKind::kConcat || IsReadInPieces(graph_, views_, node)));
            },
            [this](int buffer) { return Arg(buffer, false); }};
  }

  // Where `value` is written, addressed through `map`: iteration space -> flat index of the value.
  Operand Target(ValueId root, const Layout& map) {
    const Storage stored = storage_.Of(root);
    std::optional<Layout> address = stored.layout.Compose(map);
    if (!address) throw NeedsStorage{root};
    Operand operand;
    operand.arg = Arg(stored.buffer, true);
    operand.map = *address;
    return operand;
  }

  Operand Source(ValueId value, const Layout& map) {
    const ViewOf& view = views_[value];
    ATHANOR_CHECK(!graph_.value(view.root).constant);        // InsertCopies
    const Storage stored = Load(view.root);
    std::optional<Layout> through = view.layout.Compose(map);
    if (through) through = stored.layout.Compose(*through);
    if (!through) throw NeedsStorage{view.root};
    Operand operand;
    operand.arg = Arg(stored.buffer, false);
    operand.map = *through;
    return operand;
  }

  // ---- contract

  void BuildContract(const Cluster& cluster) {
    const Node& node = graph_.node(cluster.anchor);
    const Shape& a_shape = Desc(node.inputs[0]).shape;
    const Shape& shape = Desc(node.outputs[0]).shape;
    ContractPlan plan;
    plan.m = shape[shape.size() - 2], plan.n = shape.back(), plan.k = a_shape.back();
    plan.batch = Product(Shape(shape.begin(), shape.end() - 2));
    plan.accumulator = ComputeType(Desc(node.outputs[0]).dtype);
    if (cluster.moments) wanted_.insert(cluster.moments->matrix);
    plan.epilogue = ContractEpilogue(cluster, &plan);
    plan.b = ContractB(node, &plan);
    plan.a = ContractA(cluster, &plan);
    plan_.flops = 2.0 * plan.batch * plan.m * plan.n * plan.k;
    plan_.skeleton = Skeleton::kContract;
    plan_.detail = std::move(plan);
  }

  Body ContractA(const Cluster& cluster, ContractPlan* plan) {
    std::vector<NodeId> here = cluster.prologue;
    here.insert(here.end(), cluster.side_sums.begin(), cluster.side_sums.end());
    BodyBuilder::Context context = ContextFor(here);
    context.reduced_dim = 2;
    BodyBuilder builder({plan->batch, plan->m, plan->k}, std::move(context));
    plan->a_result = builder.Read(graph_.node(cluster.anchor).inputs[0], builder.Identity());
    const Layout row(0, {{{plan->batch, plan->m}}, {{plan->m, 1}}, {{plan->k, 0}}});
    for (NodeId n : cluster.prologue) {
      if (wanted_.count(Result(n))) builder.AddStore(builder.Read(Result(n), row), Target(Result(n), row));
    }
    for (NodeId n : cluster.side_sums) {
      if (wanted_.count(Result(n))) StoreSideSum(n, graph_.node(cluster.anchor).inputs[0], *plan, &builder);
    }
    return builder.Take();
  }

  // A sum over k of A, or of some of its rows.
  void StoreSideSum(NodeId n, ValueId a, const ContractPlan& plan, BodyBuilder* builder) {
    const ValueId input = graph_.node(n).inputs[0];
    const auto along_m = [&](int64_t rows) { return Layout(0, {{{plan.batch, rows}}, {{rows, 1}}, {{plan.k, 0}}}); };
    if (views_[a].root == views_[input].root) {
      builder->AddStore(builder->Read(Result(n), along_m(plan.m)), Target(Result(n), along_m(plan.m)));
      return;
    }
    const auto rows = PartOfRows(graph_, views_, a, input, KeptByReduced(ReductionOf(graph_, graph_.node(n)), views_[input].layout));
    ATHANOR_CHECK(rows);
    Expr sum;
    sum.kind = Expr::Kind::kReduce;
    sum.dtype = Desc(Result(n)).dtype;
    sum.axes = 1u << 2;
    sum.args[0] = plan.a_result;
    builder->AddStore(builder->AddExpr(sum), Target(Result(n), along_m(rows->end - rows->begin)), rows->begin, rows->end, 1);
  }

  Body ContractB(const Node& node, ContractPlan* plan) {
    BodyBuilder builder({plan->batch, plan->k, plan->n}, ContextFor({}));
    plan->b_result = builder.Read(node.inputs[1], builder.Identity());
    return builder.Take();
  }

  Body ContractEpilogue(const Cluster& cluster, ContractPlan* plan) {
    BodyBuilder::Context context = ContextFor(cluster.nodes);
    context.accumulator = Result(cluster.anchor);
    BodyBuilder builder({plan->batch, plan->m, plan->n}, std::move(context));
    std::map<NodeId, Layout> maps{{cluster.anchor, builder.Identity()}};
    for (NodeId n : cluster.nodes) {
      if (n != cluster.anchor) {
        if (std::optional<Layout> map = FollowerMap(n, maps)) {
          maps[n] = *map;
        } else {
          StoreRange(n, *plan, maps, &builder);
          continue;
        }
      }
      if (wanted_.count(Result(n))) builder.AddStore(builder.Read(Result(n), maps[n]), Target(Result(n), maps[n]));
    }
    if (cluster.moments) plan->moments = MomentsOfRows(*cluster.moments, *plan, &builder);
    return builder.Take();
  }

  RowMoments MomentsOfRows(const Moments& moments, const ContractPlan& plan, BodyBuilder* builder) {
    const Layout row(0, {{{plan.batch, plan.m}}, {{plan.m, 1}}, {{plan.n, 0}}});
    RowMoments result;
    result.expr = builder->Read(moments.element, builder->Identity());
    result.result = Target(moments.matrix, builder->Identity());
    result.sums = Target(Result(moments.sum), row), result.squares = Target(Result(moments.squares), row);
    const Digits along = Coalesce(result.result.map.dim(2));
    if (along.size() != 1 || along[0].stride != 1) throw NeedsStorage{Result(moments.squares)};  // by another kernel
    return result;
  }

  // [batch, m, n] -> flat index of a node that follows another epilogue node element by element.
  std::optional<Layout> FollowerMap(NodeId n, const std::map<NodeId, Layout>& maps) const {
    for (ValueId v : graph_.node(n).inputs) {
      const ViewOf& view = views_[v];
      auto leader = maps.find(graph_.value(view.root).producer);
      if (leader == maps.end()) continue;
      std::optional<Layout> back = Invert(view.layout, Desc(Result(n)).elements());
      if (back) back = back->Compose(leader->second);
      if (back) return back;
    }
    return std::nullopt;
  }

  // A copy of a range of the contraction's columns, or of its rows.
  void StoreRange(NodeId n, const ContractPlan& plan, const std::map<NodeId, Layout>& maps, BodyBuilder* builder) {
    const ViewOf& view = views_[graph_.node(n).inputs[0]];
    const auto leader = maps.find(graph_.value(view.root).producer);
    std::optional<RangeInverse> range = InvertRange(view.layout, plan.batch * plan.m, plan.n);
    if (!range || leader == maps.end() || !SameMap(leader->second, builder->Identity())) throw NeedsStorage{Result(n)};
    const int expr = builder->Read(view.root, builder->Identity());
    if (range->of_rows) {
      if (plan.batch != 1) throw NeedsStorage{Result(n)};
      const Layout map(0, {{{1, 0}}, range->row, range->column});
      return builder->AddStore(expr, Target(Result(n), map), range->begin, range->end, 1);
    }
    if (range->end - range->begin == 1) throw NeedsStorage{Result(n)};   // one column has no stride to store vectors with
    std::optional<Layout> rows = Layout(0, {range->row}).Compose(Layout::Contiguous({plan.batch, plan.m}));
    if (!rows) throw NeedsStorage{Result(n)};
    const Layout map(0, {rows->dim(0), rows->dim(1), range->column});
    builder->AddStore(expr, Target(Result(n), map), range->begin, range->end);
  }

  // ---- attention and scatter

  void BuildAttention(const Node& node) {
    const AttentionInputs at = AttentionInputsOf(*node.op, node.attrs);
    const Shape &q = Desc(node.inputs[at.q]).shape, &v = Desc(node.inputs[at.q + 2]).shape;
    AttentionPlan plan;
    plan.backward = node.outputs.size() >= 3;
    plan.batch = q[0], plan.heads = q[1], plan.lq = q[2], plan.d = q[3], plan.kv_heads = v[1], plan.lk = v[2], plan.dv = v[3];
    plan.dtype = ComputeType(Desc(node.inputs[at.q]).dtype);
    plan.left = Get<int64_t>(node.attrs, "left"), plan.right = Get<int64_t>(node.attrs, "right");
    plan.scale = Get<double>(node.attrs, "scale");
    auto source = [&](int i) { return Source(node.inputs[i], Layout::Contiguous(Desc(node.inputs[i]).shape)); };
    auto target = [&](int i) { return Target(node.outputs[i], Layout::Contiguous(Desc(node.outputs[i]).shape)); };
    for (Operand* optional : {&plan.lse, &plan.mask, &plan.lengths, &plan.dmask, &plan.seed, &plan.offset}) optional->arg = -1;
    plan.q = source(at.q), plan.k = source(at.q + 1), plan.v = source(at.q + 2);
    if (at.mask >= 0) plan.mask = source(at.mask), plan.mask_dtype = Desc(node.inputs[at.mask]).dtype;
    if (at.lengths >= 0) plan.lengths = source(at.lengths);
    plan.dropout_p = Get<double>(node.attrs, "dropout_p");
    if (at.seed >= 0) plan.seed = source(at.seed), plan.offset = source(at.seed + 1);
    if (plan.backward) {
      plan.dy = source(0), plan.y = source(4), plan.lse = source(5);
      plan.dq = target(0), plan.dk = target(1), plan.dv_out = target(2);
      if (node.outputs.size() > 3) plan.dmask = target(3);
    } else {
      plan.y = target(0);
      if (wanted_.count(node.outputs[1])) plan.lse = target(1);
    }
    const double products = static_cast<double>(plan.batch * plan.heads * plan.lq * plan.lk) * (plan.d + plan.dv);
    plan_.flops = (plan.backward ? 4 : 2) * products / (plan.right == 0 ? 2 : 1);
    plan_.skeleton = Skeleton::kAttention;
    plan_.detail = std::move(plan);
  }

  void BuildScatter(const Node& node) {
    const TensorDesc& out = Desc(node.outputs[0]);
    const TensorDesc& indices = Desc(node.inputs[1]);
    ScatterPlan plan;
    plan.rows = indices.elements();
    plan.table_rows = out.shape[0];
    plan.columns = Product(Shape(out.shape.begin() + 1, out.shape.end()));
    plan.dtype = out.dtype, plan.index_dtype = indices.dtype;
    if (node.inputs.size() > 2) {                            // the table lives where the result lives
      const ValueId table = views_[node.inputs[2]].root;
      plan.adds = false;
      if (!graph_.value(table).is_input) Load(table);
    }
    plan.source = Source(node.inputs[0], Layout::Contiguous({plan.rows, plan.columns}));
    plan.index = Source(node.inputs[1], Layout::Contiguous({plan.rows}));
    plan.out = Target(node.outputs[0], Layout::Contiguous({plan.table_rows, plan.columns}));
    if (!plan.adds) plan_.args[plan.out.arg].read = true;    // the other rows stay
    plan_.skeleton = Skeleton::kScatter;
    plan_.detail = std::move(plan);
  }

  // ---- loops

  void BuildLoop(const Cluster& cluster) {
    const NodeId first = cluster.nodes[0];
    LoopPlan plan;
    if (cluster.rows > 0 || cluster.cols > 0) {
      plan_.skeleton = Skeleton::kReduce;
      plan.body = RowLoop(cluster);
    } else if (graph_.node(first).op->kind == OpKind::kReduce) {
      plan_.skeleton = Skeleton::kLoopNest;
      plan.body = SplitDigits(ReductionNest(first));
    } else {
      plan_.skeleton = Skeleton::kPointwise;
      plan.body = SplitDigits(PointwiseLoop(cluster));
    }
    plan_.detail = std::move(plan);
  }

  Body RowLoop(const Cluster& cluster) {
    const int64_t rows = cluster.rows, cols = cluster.cols;
    BodyBuilder::Context context = ContextFor(cluster.nodes);
    context.reduced_dim = 1;
    BodyBuilder builder({rows, cols}, std::move(context));
    for (NodeId n : cluster.nodes) {
      const ValueId result = Result(n);
      if (!wanted_.count(result)) continue;
      if (graph_.node(n).op->kind == OpKind::kReduce && ReductionOf(graph_, graph_.node(n)).form == Reduction::Form::kLeading) {
        const Layout column(0, {{{rows, 0}}, {{cols, 1}}});
        builder.AddStore(ColumnSum(n, &builder), Target(result, column));
        continue;
      }
      const int64_t elements = Desc(result).elements();
      const Layout map = elements == rows * cols ? builder.Identity()
                                                 : Layout(0, {{{rows, elements == rows ? 1 : 0}}, {{cols, 0}}});
      ATHANOR_CHECK(elements == rows * cols || elements == rows || elements == 1);
      builder.AddStore(builder.Read(result, map), Target(result, map));
    }
    return builder.Take();
  }

  int ColumnSum(NodeId n, BodyBuilder* builder) {
    const Node& node = graph_.node(n);
    const Reduction reduction = ReductionOf(graph_, node);
    Digits kept;
    for (int d = reduction.kept_map.rank() - 1; d >= 0; --d) {
      kept.insert(kept.end(), reduction.kept_map.dim(d).begin(), reduction.kept_map.dim(d).end());
    }
    Expr expr;
    expr.kind = Expr::Kind::kReduce;
    expr.dtype = Desc(node.outputs[0]).dtype;
    expr.fn = Fn::kAdd;
    expr.axes = 1;
    expr.args[0] = builder->Read(node.inputs[0], Layout(0, {reduction.reduced_digits, kept}));
    return builder->AddExpr(expr);
  }

  Body ReductionNest(NodeId n) {
    const Reduction reduction = ReductionOf(graph_, graph_.node(n));
    BodyBuilder::Context context = ContextFor({n});
    context.reduced_dim = 1;
    BodyBuilder builder({reduction.kept, reduction.reduced}, std::move(context));
    const Layout map(0, {{{reduction.kept, 1}}, {{reduction.reduced, 0}}});
    builder.AddStore(builder.Read(Result(n), map), Target(Result(n), map));
    return builder.Take();
  }

  Body PointwiseLoop(const Cluster& cluster) {
    BodyBuilder builder({Desc(Result(cluster.nodes[0])).elements()}, ContextFor(cluster.nodes));
    for (NodeId n : cluster.nodes) {
      if (wanted_.count(Result(n))) builder.AddStore(builder.Read(Result(n), builder.Identity()), Target(Result(n), builder.Identity()));
    }
    return builder.Take();
  }

  const Graph& graph_;
  const std::vector<ViewOf>& views_;
  const Fusion& fusion_;
  StoragePlanner& storage_;
  std::set<ValueId> wanted_;                                 // roots that must be in memory
  int cluster_ = -1;
  KernelPlan plan_;
};

std::vector<Overwrite> Overwrites(const Graph& graph, const std::vector<ViewOf>& views, const std::vector<InPlace>& in_place) {
  std::vector<Overwrite> result;
  for (const InPlace& pair : in_place) {
    auto output = std::find_if(graph.outputs().begin(), graph.outputs().end(), [&](const NamedValue& o) { return o.name == pair.output; });
    auto input = std::find_if(graph.inputs().begin(), graph.inputs().end(), [&](ValueId v) { return graph.value(v).name == pair.input; });
    if (output == graph.outputs().end()) Fail("in place: the graph has no output '{}'", pair.output);
    if (input == graph.inputs().end()) Fail("in place: the graph has no input '{}'", pair.input);
    const TensorDesc& out = graph.desc(output->value);
    const TensorDesc& in = graph.desc(*input);
    if (out.dtype != in.dtype || out.shape != in.shape || !in.contiguous()) {
      Fail("in place: output '{}' is {}, but input '{}' is {}", pair.output, ToString(out), pair.input, ToString(in));
    }
    const auto same = [&](const InPlace& other) { return &other != &pair && (other.output == pair.output || other.input == pair.input); };
    if (std::any_of(in_place.begin(), in_place.end(), same)) Fail("in place: output '{}' and input '{}' are not each other's alone", pair.output, pair.input);
    result.push_back({views[output->value].root, *input});
  }
  return result;
}

// What one op of the author's graph hands to another, to the backward of itself, or to the caller.
std::set<ValueId> ResultsOfOps(const Graph& graph, const std::vector<ViewOf>& views) {
  std::set<ValueId> results;
  const auto add = [&](ValueId v) {
    const Value& root = graph.value(views[v].root);
    if (root.producer != kNone) results.insert(views[v].root);
  };
  for (const Node& node : graph.nodes()) {
    if (node.op->kind == OpKind::kView) continue;
    for (ValueId v : node.inputs) {
      if (v == kNone) continue;
      const NodeId producer = graph.value(views[v].root).producer;
      if (producer != kNone && graph.node(producer).origin != node.origin) add(v);
    }
  }
  for (const NamedValue& output : graph.outputs()) add(output.value);
  return results;
}

// The inputs with strides that a value is computed from in its own kernel, where nothing else can be the obstacle. False where `names` has all.
bool AddStridedInputs(const Graph& graph, const std::vector<ViewOf>& views, ValueId value, std::set<std::string>* names) {
  bool added = false;
  std::set<ValueId> seen;
  std::vector<ValueId> work{value};
  while (!work.empty()) {
    const Value& next = graph.value(work.back());
    work.pop_back();
    if (next.is_input && !next.desc.contiguous()) added |= names->insert(next.name).second;
    if (next.producer == kNone) continue;
    for (ValueId v : graph.node(next.producer).inputs) {
      if (v != kNone && seen.insert(views[v].root).second) work.push_back(views[v].root);
    }
  }
  return added;
}

// The program of a graph that has passed InsertCopies with `extra`; nothing where that has to do more, which is then in `extra`.
std::optional<Program> BuildFrom(const Graph& graph, const std::vector<InPlace>& in_place, Fusing fusing, ExtraCopies* extra) {
  const std::vector<ViewOf> views = ResolveViews(graph);
  const std::vector<Overwrite> overwrites = Overwrites(graph, views, in_place);
  std::set<ValueId> stored;
  if (fusing == Fusing::kNothing) stored = ResultsOfOps(graph, views);
  for (const NamedValue& output : graph.outputs()) {
    if (!extra->outputs.count(output.name)) continue;
    const ValueId copy = views[output.value].root;           // in a kernel of its own, from memory
    stored.insert({copy, views[graph.node(graph.value(copy).producer).inputs[0]].root});
  }
  // Each round learns of one value in each kernel that no access map leads through.
  while (true) {
    try {
      const Fusion fusion = Fuse(graph, views, stored, overwrites);
      StoragePlanner storage(graph, views, in_place, stored);
      Program program;
      std::set<ValueId> blocked;
      program.kernels = PlanBuilder(graph, views, fusion, storage).Run(&blocked);
      if (blocked.empty()) {
        program.buffers = storage.buffers();
        if (const std::optional<std::string> output = FindOverwritten(program)) throw NeedsCopyOfOutput{*output};
        MergeForeach(&program);
        return program;
      }
      for (const ValueId v : blocked) {
        const Value& value = graph.value(v);
        if (value.producer != kNone && IsReadInPieces(graph, views, graph.node(value.producer))) {
          ATHANOR_CHECK(std::exchange(extra->read_in_pieces, false));
          return std::nullopt;
        }
        if (stored.insert(v).second) continue;
        ATHANOR_CHECK(AddStridedInputs(graph, views, v, &extra->inputs));
        return std::nullopt;
      }
    } catch (const NeedsCopyOfOutput& blocked) {
      ATHANOR_CHECK(extra->outputs.insert(blocked.output).second);
      return std::nullopt;
    }
  }
}

}  // namespace

Program BuildProgram(const Graph& core, const std::vector<InPlace>& in_place, Fusing fusing) {
  ExtraCopies extra;
  while (true) {
    std::optional<Program> program = BuildFrom(InsertCopies(core, in_place, extra), in_place, fusing, &extra);
    if (program) return *std::move(program);
  }
}

}  // namespace athanor
