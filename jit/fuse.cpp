#include "jit/fuse.h"

#include <algorithm>
#include <map>
#include <optional>

#include "jit/cluster_order.h"
#include "jit/dependency_order.h"
#include "jit/moments.h"
#include "jit/reduction.h"
#include "ops/emit.h"
#include "ops/error.h"
#include "ops/op.h"

namespace athanor {
namespace {

class Fuser {
 public:
  Fuser(const Graph& graph, const std::vector<ViewOf>& views, const std::set<ValueId>& stored)
      : graph_(graph), views_(views), stored_(stored), order_(graph, views), live_(graph.nodes().size()), readers_(graph.values().size()) {
    result_.cluster_of.assign(graph.nodes().size(), -1);
    FindReaders();
    FindManyWindows();
  }

  Fusion Run() {
    for (NodeId n = 0; n < NodeCount(); ++n) {
      if (!live_[n]) continue;
      if (Kind(n) == OpKind::kContract) Open(Cluster::Kind::kContract, n);
      if (Kind(n) == OpKind::kAttention) Open(Cluster::Kind::kAttention, n);
      if (Kind(n) == OpKind::kScatter) Open(Cluster::Kind::kScatter, n);
    }
    for (int c = static_cast<int>(result_.clusters.size()) - 1; c >= 0; --c) {
      if (result_.clusters[c].kind == Cluster::Kind::kContract) AbsorbEpilogue(c);
    }
    for (int c = 0; c < static_cast<int>(result_.clusters.size()); ++c) {
      if (result_.clusters[c].kind == Cluster::Kind::kContract) AbsorbPrologue(c);
    }
    for (NodeId n = 0; n < NodeCount(); ++n) {
      if (IsFree(n) && Kind(n) == OpKind::kReduce) AttachSideSum(n);
    }
    for (NodeId n = 0; n < NodeCount(); ++n) {
      if (IsFree(n) && Kind(n) == OpKind::kReduce) AttachMoments(n);
    }
    chains_.clear();                                         // what is free has changed
    FindMembers();
    for (NodeId n = 0; n < NodeCount(); ++n) {
      if (member_[n]) JoinLoop(n);
    }
    return std::move(result_);
  }

 private:
  int NodeCount() const { return static_cast<int>(graph_.nodes().size()); }
  const Node& At(NodeId n) const { return graph_.node(n); }
  OpKind Kind(NodeId n) const { return At(n).op->kind; }
  ValueId Root(ValueId v) const { return views_[v].root; }
  NodeId Producer(ValueId v) const { return graph_.value(Root(v)).producer; }
  ValueId Result(NodeId n) const { return At(n).outputs[0]; }
  int64_t Elements(ValueId v) const { return graph_.desc(v).elements(); }
  int ClusterOf(NodeId n) const { return n == kNone ? -1 : result_.cluster_of[n]; }
  bool IsStructural(NodeId n) const { return Kind(n) == OpKind::kView || Kind(n) == OpKind::kConcat; }
  bool MustStore(NodeId n) const { return stored_.count(Result(n)) > 0; }
  // A loop node that no cluster has taken yet.
  bool IsFree(NodeId n) const { return n != kNone && live_[n] && !IsStructural(n) && ClusterOf(n) < 0; }
  bool IsInlinable(NodeId n) const {
    if (!IsFree(n) || MustStore(n)) return false;
    return Kind(n) == OpKind::kPointwise || Kind(n) == OpKind::kIota || Kind(n) == OpKind::kRandom || Kind(n) == OpKind::kWindow;
  }
  bool IsCopy(NodeId n) const {
    return Kind(n) == OpKind::kPointwise && At(n).op->fn == Fn::kCast &&
           graph_.desc(At(n).inputs[0]).dtype == graph_.desc(Result(n)).dtype;
  }

  // Live nodes and, for each root, the nodes that read it through whatever views.
  void FindReaders() {
    std::vector<NodeId> work;
    auto visit = [&](ValueId v) {
      NodeId producer = Producer(v);
      if (producer != kNone && !live_[producer]) live_[producer] = true, work.push_back(producer);
    };
    for (const NamedValue& output : graph_.outputs()) visit(output.value), output_roots_.insert(Root(output.value));
    while (!work.empty()) {
      NodeId n = work.back();
      work.pop_back();
      for (ValueId v : At(n).inputs) {
        if (v != kNone) visit(v);
      }
    }
    for (NodeId n = 0; n < NodeCount(); ++n) {
      if (!live_[n] || Kind(n) == OpKind::kView) continue;
      for (ValueId v : At(n).inputs) {
        if (v != kNone && (readers_[Root(v)].empty() || readers_[Root(v)].back() != n)) readers_[Root(v)].push_back(n);
      }
    }
  }

  // What is computed of several windows (a pool, a depthwise convolution, the gradient of a pool) is stored where a contraction or a reduction reads it,
  // whose vectors run over the ends of rows, and where several nodes read it and there are more taps than this: each reader would have them all
  // written out, in code that takes clang longer to compile than the value is worth.
  static constexpr int kMostTaps = 16;

  void FindManyWindows() {
    std::vector<int> taps(graph_.nodes().size(), 0);
    for (NodeId n = 0; n < NodeCount(); ++n) {
      for (ValueId v : At(n).inputs) {
        const NodeId producer = v == kNone ? kNone : Producer(v);
        if (!live_[n] || !IsInlinable(producer)) continue;
        if (Kind(n) == OpKind::kWindow) continue;            // what a window reads is in memory
        if ((Kind(n) == OpKind::kContract || Kind(n) == OpKind::kReduce) && taps[producer] > 1) stored_.insert(Result(producer));
        taps[n] = std::min(taps[n] + taps[producer], kMostTaps + 1);
      }
      if (!IsInlinable(n)) continue;
      taps[n] += Kind(n) == OpKind::kWindow;
      if (taps[n] > kMostTaps && readers_[Result(n)].size() > 1) stored_.insert(Result(n));
    }
  }

  int Open(Cluster::Kind kind, NodeId n) {
    Cluster cluster;
    cluster.kind = kind;
    if (kind != Cluster::Kind::kLoop) cluster.anchor = n;
    result_.clusters.push_back(std::move(cluster));
    int id = static_cast<int>(result_.clusters.size()) - 1;
    Take(id, n);
    return id;
  }

  void Take(int cluster, NodeId n) {
    result_.clusters[cluster].nodes.push_back(n);
    Assign(n, cluster);
  }

  // The cluster computes the node.
  void Assign(NodeId n, int cluster) {
    result_.cluster_of[n] = cluster;
    order_.Merge(result_.clusters[cluster].nodes.front(), n);
  }

  bool DependsOn(NodeId from, int cluster) const {
    const NodeId member = result_.clusters[cluster].nodes.front();
    return order_.Reaches({from}, order_.Rank(member), [&](NodeId n) { return ClusterOf(n) == cluster; });
  }

  // True when the cluster needs `node`, which is not in it: taking the node in would close a cycle through another cluster.
  bool AlreadyNeeds(const Cluster& cluster, NodeId node) const {
    return order_.Reaches({cluster.nodes.front()}, order_.Rank(node), [&](NodeId n) { return n == node; });
  }

  // ---- 1. epilogues

  bool CanFollow(NodeId n, const std::set<NodeId>& closure, int cluster) const {
    if (!IsInlinable(n) || Kind(n) != OpKind::kPointwise) return false;
    const int64_t size = Elements(Result(result_.clusters[cluster].anchor));
    bool follows = false;
    std::vector<NodeId> others;                              // what it reads besides
    for (ValueId v : At(n).inputs) {
      const NodeId producer = Producer(v);
      if (producer == kNone) continue;
      if (!closure.count(producer)) {
        others.push_back(producer);
        continue;
      }
      const bool whole = Elements(v) == size && Elements(Result(n)) == size && Invert(views_[v].layout, size).has_value();
      const bool part = IsCopy(n) && Elements(Root(v)) == size && IsRange(v, cluster);
      if (!whole && !part) return false;
      follows = true;
    }
    return follows && std::none_of(others.begin(), others.end(), [&](NodeId other) { return DependsOnClosure(other, closure, cluster); });
  }

  // The closure is not in the cluster yet: look for both.
  bool DependsOnClosure(NodeId from, const std::set<NodeId>& closure, int cluster) const {
    const int floor = order_.Rank(result_.clusters[cluster].anchor);
    return order_.Reaches({from}, floor, [&](NodeId n) { return ClusterOf(n) == cluster || closure.count(n) > 0; });
  }

  // Some of the contraction's columns, or of its rows.
  bool IsRange(ValueId v, int cluster) const {
    const TensorDesc& desc = graph_.desc(Result(result_.clusters[cluster].anchor));
    const auto range = InvertRange(views_[v].layout, desc.elements() / desc.shape.back(), desc.shape.back());
    return range && (!range->of_rows || desc.rank() == 2);
  }

  void AbsorbEpilogue(int cluster) {
    const NodeId anchor = result_.clusters[cluster].anchor;
    if (MustStore(anchor)) return;
    std::set<NodeId> closure{anchor};
    std::set<NodeId> readers(readers_[Result(anchor)].begin(), readers_[Result(anchor)].end());
    for (auto n = readers.begin(); n != readers.end(); ++n) {  // in topological order: readers of a reader come after it
      if (!CanFollow(*n, closure, cluster)) continue;
      closure.insert(*n);
      readers.insert(readers_[Result(*n)].begin(), readers_[Result(*n)].end());
    }
    PruneClosure(anchor, &closure);
    for (NodeId n : closure) {
      if (n != anchor) Take(cluster, n);
    }
  }

  bool ReadOutside(NodeId n, const std::set<NodeId>& closure) const {
    if (output_roots_.count(Result(n))) return true;
    const std::vector<NodeId>& readers = readers_[Result(n)];
    return std::any_of(readers.begin(), readers.end(), [&](NodeId r) { return !closure.count(r); });
  }

  int64_t StoredBytes(const std::set<NodeId>& closure) const {
    int64_t bytes = 0;
    for (NodeId n : closure) bytes += ReadOutside(n, closure) ? Elements(Result(n)) * SizeOf(graph_.desc(Result(n)).dtype) : 0;
    return bytes;
  }

  // Read outside only by loops that could recompute it from what they load anyway.
  bool OnlyForLoops(NodeId n, const std::set<NodeId>& closure) const {
    if (output_roots_.count(Result(n))) return false;
    for (NodeId r : readers_[Result(n)]) {
      if (closure.count(r) ? !OnlyForLoops(r, closure) : !(IsFree(r) && Kind(r) != OpKind::kGather)) return false;
    }
    return true;
  }

  // Drops what follows a value when fewer bytes are stored without it.
  void PruneClosure(NodeId anchor, std::set<NodeId>* closure) const {
    const std::set<NodeId> all = *closure;
    for (NodeId top : all) {
      if (!closure->count(top)) continue;
      std::set<NodeId> reached{top}, kept = *closure;
      for (NodeId n : *closure) {
        const bool below = n != top && std::any_of(At(n).inputs.begin(), At(n).inputs.end(), [&](ValueId v) {
          return v != kNone && Producer(v) != kNone && reached.count(Producer(v));
        });
        if (!below) continue;
        reached.insert(n);
        if (n != anchor && OnlyForLoops(n, *closure)) kept.erase(n);
      }
      if (StoredBytes(kept) < StoredBytes(*closure)) *closure = kept;
    }
  }

  // ---- 2. prologues

  // The free nodes behind a value that would be recomputed to read it.
  void CollectFree(ValueId v, std::set<NodeId>* nodes) const {
    NodeId n = Producer(v);
    if (!IsFree(n) || MustStore(n) || nodes->count(n)) return;
    if (Kind(n) != OpKind::kPointwise && Kind(n) != OpKind::kReduce) return;
    nodes->insert(n);
    for (ValueId input : At(n).inputs) {
      if (input != kNone) CollectFree(input, nodes);
    }
  }

  void AbsorbPrologue(int cluster) {
    Cluster& contract = result_.clusters[cluster];
    const ValueId a = At(contract.anchor).inputs[0];
    const Shape& shape = graph_.desc(a).shape;
    const int64_t k = shape.back(), rows = k == 0 ? 0 : Product(shape) / k;
    // Only in front of a value that is recomputed from one tensor; what takes more reads is better stored by the loop that reduces.
    const NodeId top = Producer(a);
    if (!IsInlinable(top) || NeedsMemory(top) || FullLeaves(top) > 1) return;
    if (HasExpensive(top) && readers_[Result(top)].size() > 1) return;
    std::set<NodeId> behind;
    CollectFree(a, &behind);
    std::set<NodeId> taken;
    for (NodeId n : behind) {
      if (Kind(n) == OpKind::kReduce) {
        Reduction reduction = ReductionOf(graph_, At(n));
        if (reduction.form == Reduction::Form::kTrailing && reduction.kept == rows && reduction.reduced == k && k > 1) taken.insert(n);
      } else if (Elements(Result(n)) == rows && k > 1) {
        const bool statistic = std::any_of(At(n).inputs.begin(), At(n).inputs.end(), [&](ValueId v) {
          return v != kNone && Producer(v) != kNone && taken.count(Producer(v));
        });
        if (statistic) taken.insert(n);
      }
    }
    if (taken.empty()) return;
    int floor = NodeCount();
    for (NodeId n : taken) floor = std::min(floor, order_.Rank(n));
    const auto needs_taken = [&](NodeId n) { return order_.Reaches({n}, floor, [&](NodeId m) { return taken.count(m) > 0; }); };
    // Not where the product also needs, by way of another kernel (that is there, or may yet be), what is computed from the statistics. All of a
    // kernel needs the same.
    std::vector<bool> asked(result_.clusters.size());
    asked[cluster] = true;
    const auto outside = [&](NodeId n) {
      const int other = ClusterOf(n);
      if (other < 0) return IsFree(n) && !behind.count(n) && needs_taken(n);
      if (asked[other]) return false;
      asked[other] = true;
      return needs_taken(n);
    };
    if (order_.Reaches({contract.anchor}, floor, outside)) return;
    // What lies between the statistics and the product is computed with them; stored, it would wait for its own reader.
    std::vector<NodeId> between;
    for (NodeId n : behind) {
      if (!taken.count(n) && needs_taken(n)) between.push_back(n);
    }
    if (std::any_of(between.begin(), between.end(), [&](NodeId n) { return NeedsMemory(n); })) return;
    carried_.insert(between.begin(), between.end());
    for (NodeId n : taken) {
      contract.prologue.push_back(n);
      Assign(n, cluster);
    }
    carried_.insert(top);
  }

  // A sum over the rows of a stored value, where a contraction reads that value as A with k = rows, or a concatenation that the value is a
  // part of.
  void AttachSideSum(NodeId n) {
    const Reduction reduction = ReductionOf(graph_, At(n));
    const ValueId input = At(n).inputs[0];
    const NodeId producer = Producer(input);
    if (At(n).op->fn != Fn::kAdd || MustStore(n) || (producer != kNone && IsFree(producer))) return;
    const auto summed = KeptByReduced(reduction, views_[input].layout);
    for (int c = 0; c < static_cast<int>(result_.clusters.size()); ++c) {
      Cluster& contract = result_.clusters[c];
      if (contract.kind != Cluster::Kind::kContract) continue;
      const ValueId a = At(contract.anchor).inputs[0];
      if (graph_.desc(a).rank() != 2) continue;
      const bool whole = Root(a) == Root(input) && summed && SameMap(*summed, views_[a].layout);
      if ((!whole && !PartOfRows(graph_, views_, a, input, summed)) || AlreadyNeeds(contract, n)) continue;
      contract.side_sums.push_back(n);
      Assign(n, c);
      return;
    }
  }

  // Whether nothing that is computed of a statistic of rows meets elements before it meets other rows'. Otherwise a loop over rows has both at hand.
  bool IsMerged(NodeId n, int64_t rows) const {
    return std::all_of(readers_[Result(n)].begin(), readers_[Result(n)].end(), [&](NodeId r) {
      return Kind(r) == OpKind::kReduce || (Kind(r) == OpKind::kPointwise && Elements(Result(r)) == rows && IsMerged(r, rows));
    });
  }

  // The second of the sums that make the moments of the rows of what a contraction stores.
  void AttachMoments(NodeId squares) {
    const auto moments = MomentsOf(graph_, views_, squares);
    if (!moments || !IsFree(moments->sum) || MustStore(moments->sum) || MustStore(squares) || !IsMerged(squares, moments->rows)) return;
    const NodeId producer = graph_.value(moments->matrix).producer;
    const int cluster = ClusterOf(producer);
    if (cluster < 0 || MustStore(producer)) return;
    Cluster& contract = result_.clusters[cluster];
    if (contract.kind != Cluster::Kind::kContract || contract.moments || !IsResultInOrder(producer, cluster)) return;
    const TensorDesc& result = graph_.desc(Result(contract.anchor));
    if (result.shape.back() != moments->columns || result.elements() != moments->rows * moments->columns) return;
    // In the type of the sums; what is rounded when it is stored is rounded for them in f32 only.
    const DType dtype = graph_.desc(moments->element).dtype, stored = graph_.desc(moments->matrix).dtype;
    if (dtype != ComputeType(result.dtype) || dtype != ComputeType(stored) || moments->columns < 2) return;
    const std::vector<NodeId>& between = moments->between;
    if (std::any_of(between.begin(), between.end(), [&](NodeId n) { return !IsInlinable(n) || NeedsMemory(n); })) return;
    carried_.insert(between.begin(), between.end());
    contract.moments = moments;
    Assign(moments->sum, cluster);
    Assign(squares, cluster);
  }

  // The contraction's result, or computed from it element by element.
  bool IsResultInOrder(NodeId n, int cluster) const {
    const NodeId anchor = result_.clusters[cluster].anchor;
    if (n == anchor) return true;
    return std::any_of(At(n).inputs.begin(), At(n).inputs.end(), [&](ValueId v) {
      const NodeId before = Producer(v);
      return before != kNone && ClusterOf(before) == cluster && views_[v].layout.IsContiguous() && Elements(v) == Elements(Result(anchor)) &&
             Elements(Result(n)) == Elements(v) && IsResultInOrder(before, cluster);
    });
  }

  // ---- 3. which pointwise values are recomputed by their readers

  struct Chain {
    std::vector<ValueId> leaves;                             // roots in memory that are read, through inlined nodes; each once
    bool after_reduction = false;                            // reads a reduction that a loop will compute
  };

  const Chain& ChainOf(NodeId n) {
    auto [it, fresh] = chains_.try_emplace(n);
    if (!fresh) return it->second;
    Chain chain;
    for (ValueId v : At(n).inputs) {
      if (v == kNone || graph_.value(Root(v)).constant) continue;
      NodeId producer = Producer(v);
      if (IsInlinable(producer) && Kind(n) != OpKind::kWindow) {
        const Chain& deeper = ChainOf(producer);
        chain.leaves.insert(chain.leaves.end(), deeper.leaves.begin(), deeper.leaves.end());
        chain.after_reduction |= deeper.after_reduction;
      } else {
        chain.leaves.push_back(Root(v));
        chain.after_reduction |= IsFree(producer) && Kind(producer) == OpKind::kReduce;
      }
    }
    std::sort(chain.leaves.begin(), chain.leaves.end());
    chain.leaves.erase(std::unique(chain.leaves.begin(), chain.leaves.end()), chain.leaves.end());
    return chains_[n] = std::move(chain);
  }

  int FullLeaves(NodeId n) {
    const Chain& chain = ChainOf(n);
    return static_cast<int>(std::count_if(chain.leaves.begin(), chain.leaves.end(), [&](ValueId leaf) {
      return 2 * Elements(leaf) > Elements(Result(n));
    }));
  }

  bool IsExpensive(NodeId n) const {
    switch (At(n).op->fn) {
      case Fn::kExp: case Fn::kLog: case Fn::kTanh: case Fn::kErf: case Fn::kSigmoid: case Fn::kPow: return Kind(n) == OpKind::kPointwise;
      default: return false;
    }
  }

  bool HasExpensive(NodeId n, int depth = 0) const {
    if (IsExpensive(n)) return true;
    return depth < 8 && std::any_of(At(n).inputs.begin(), At(n).inputs.end(), [&](ValueId v) {
      return v != kNone && IsInlinable(Producer(v)) && HasExpensive(Producer(v), depth + 1);
    });
  }

  bool NeedsMemory(NodeId n) const {
    if (MustStore(n) || output_roots_.count(Result(n)) || Kind(n) == OpKind::kReduce || Kind(n) == OpKind::kGather) return true;
    return std::any_of(readers_[Result(n)].begin(), readers_[Result(n)].end(), [&](NodeId r) {
      return Kind(r) == OpKind::kAttention || Kind(r) == OpKind::kScatter || Kind(r) == OpKind::kConcat ||
             ReadsElsewhere(r, Result(n));                   // would be recomputed for each position in the window
    });
  }

  // Kernels that would read (or recompute) the value: its readers, seen through the inlined ones.
  int ReadingKernels(NodeId n) const {
    std::set<int> clusters;
    int kernels = 0;
    for (NodeId r : readers_[Result(n)]) {
      if (ClusterOf(r) >= 0) {
        clusters.insert(ClusterOf(r));
      } else {
        kernels += member_[r] ? 1 : uses_[r];
      }
    }
    return kernels + static_cast<int>(clusters.size());
  }

  void FindMembers() {
    member_.assign(graph_.nodes().size(), false);
    uses_.assign(graph_.nodes().size(), 0);
    for (NodeId n = NodeCount() - 1; n >= 0; --n) {
      if (!IsFree(n)) continue;
      uses_[n] = ReadingKernels(n);
      member_[n] = NeedsMemory(n) || (!carried_.count(n) && StoringIsCheaper(n, uses_[n]));
    }
  }

  bool StoringIsCheaper(NodeId n, int uses) {
    if (Kind(n) != OpKind::kPointwise || Elements(Result(n)) == 1) return false;
    const int leaves = FullLeaves(n);
    if (ChainOf(n).after_reduction) return 1 + uses <= uses * leaves;     // the loop that reduces has the leaves at hand
    if (uses < 2) return false;
    return leaves + 1 + uses < uses * leaves || HasExpensive(n);
  }

  // ---- 4. loops

  // Windows and gathers read their first input at other places than the point that is computed: all of it must be in memory.
  bool ReadsElsewhere(NodeId n, ValueId root) const {
    return (Kind(n) == OpKind::kWindow || Kind(n) == OpKind::kGather) && Root(At(n).inputs[0]) == root;
  }

  // Members and stored roots that computing a member reads, through inlined nodes.
  struct Reads {
    std::set<ValueId> roots;
    std::set<ValueId> elsewhere;                             // those that no loop of this node can compute
  };

  void CollectReads(NodeId n, Reads* reads) const {
    for (ValueId v : At(n).inputs) {
      if (v == kNone || graph_.value(Root(v)).constant) continue;
      NodeId producer = Producer(v);
      if (IsFree(producer) && !member_[producer]) {
        CollectReads(producer, reads);
        continue;
      }
      reads->roots.insert(Root(v));
      if (ReadsElsewhere(n, Root(v))) reads->elsewhere.insert(Root(v));
    }
  }

  bool Fits(NodeId n, const Cluster& loop, bool depends) const {
    const int64_t space = loop.rows ? loop.rows * loop.cols : Elements(Result(loop.nodes[0]));
    if (Kind(n) == OpKind::kReduce) {
      const Reduction r = ReductionOf(graph_, At(n));
      const int64_t elements = r.kept * r.reduced;
      switch (r.form) {
        case Reduction::Form::kTrailing: return loop.rows ? r.kept == loop.rows && r.reduced == loop.cols : elements == space;
        case Reduction::Form::kLeading:
          return At(n).op->fn == Fn::kAdd && (loop.rows ? r.reduced == loop.rows && r.kept == loop.cols : elements == space);
        case Reduction::Form::kAll: return At(n).op->fn == Fn::kAdd && loop.rows && (elements == space || (depends && elements == loop.rows));
        case Reduction::Form::kMixed: return false;
      }
    }
    const int64_t elements = Elements(Result(n));
    return elements == space || (depends && loop.rows && elements == loop.rows);
  }

  // A reduction that has no row space runs as a loop nest of its own.
  bool IsNest(const Cluster& loop) const { return loop.rows == 0 && loop.cols == 0 && Kind(loop.nodes[0]) == OpKind::kReduce; }

  bool TryJoin(NodeId n, int c, const Reads& reads, bool depends) {
    Cluster& loop = result_.clusters[c];
    if (IsNest(loop)) return false;
    if (MustStore(n) || MustStore(loop.nodes[0]) || !Fits(n, loop, depends) || AlreadyNeeds(loop, n)) return false;
    for (ValueId root : reads.roots) {
      NodeId producer = graph_.value(root).producer;
      if (producer == kNone) continue;
      if (ClusterOf(producer) == c ? reads.elsewhere.count(root) > 0 : DependsOn(producer, c)) return false;
    }
    SetSpace(n, &loop);
    Take(c, n);
    return true;
  }

  void SetSpace(NodeId n, Cluster* loop) const {
    if (loop->rows || Kind(n) != OpKind::kReduce) return;
    const Reduction r = ReductionOf(graph_, At(n));
    if (r.form == Reduction::Form::kTrailing) loop->rows = r.kept, loop->cols = r.reduced;
    if (At(n).op->fn != Fn::kAdd) return;
    if (r.form == Reduction::Form::kLeading) loop->rows = r.reduced, loop->cols = r.kept;
    if (r.form == Reduction::Form::kAll) {
      const Shape& shape = graph_.desc(At(n).inputs[0]).shape;
      loop->cols = shape.empty() ? 1 : std::max<int64_t>(shape.back(), 1);
      loop->rows = r.reduced / loop->cols;
    }
  }

  void JoinLoop(NodeId n) {
    Reads reads;
    CollectReads(n, &reads);
    std::set<int, std::greater<>> producers, siblings;
    for (ValueId root : reads.roots) {
      const int c = ClusterOf(graph_.value(root).producer);
      if (c >= 0 && result_.clusters[c].kind == Cluster::Kind::kLoop) producers.insert(c);
      for (int sibling : loops_reading_[root]) {
        if (2 * Elements(root) > Elements(Result(n))) siblings.insert(sibling);
      }
    }
    int joined = -1;
    for (int c : producers) {
      if (joined < 0 && TryJoin(n, c, reads, true)) joined = c;
    }
    for (int c : siblings) {
      if (joined < 0 && TryJoin(n, c, reads, false)) joined = c;
    }
    if (joined < 0) {
      joined = Open(Cluster::Kind::kLoop, n);
      SetSpace(n, &result_.clusters[joined]);
    }
    for (ValueId root : reads.roots) loops_reading_[root].insert(joined);
  }

  const Graph& graph_;
  const std::vector<ViewOf>& views_;
  std::set<ValueId> stored_;
  DependencyOrder order_;
  std::vector<bool> live_, member_;
  std::vector<int> uses_;
  std::set<NodeId> carried_;                                 // recomputed by a contraction for, or from, statistics of its own
  std::vector<std::vector<NodeId>> readers_;                 // by root
  std::set<ValueId> output_roots_;
  std::map<NodeId, Chain> chains_;
  std::map<ValueId, std::set<int>> loops_reading_;
  Fusion result_;
};

}  // namespace

std::vector<NodeId> Cluster::Members() const {
  std::vector<NodeId> members = prologue;
  members.insert(members.end(), nodes.begin(), nodes.end());
  members.insert(members.end(), side_sums.begin(), side_sums.end());
  if (moments) members.insert(members.end(), {moments->sum, moments->squares});
  return members;
}

Fusion Fuse(const Graph& graph, const std::vector<ViewOf>& views, const std::set<ValueId>& stored,
            const std::vector<Overwrite>& overwrites) {
  Fusion fusion = Fuser(graph, views, stored).Run();
  SortClusters(graph, views, overwrites, &fusion);
  return fusion;
}

}  // namespace athanor
