#include "jit/cuda_point.h"

#include <set>

#include "jit/prelude.h"

namespace athanor {

bool IsRawSave(const Body& body, const CudaEmitter& emitter, int expr, int dim, int lanes) {
  const Expr& load = body.exprs[expr];
  return load.kind == Expr::Kind::kLoad && emitter.IsVec(body.operands[load.operand], dim, lanes);
}

std::vector<int> LoadsAlong(const Body& body, const CudaEmitter& emitter, const std::vector<int>& roots, int dim, const std::map<int, std::string>& known) {
  std::set<int> seen, loads;
  std::vector<int> work = roots;
  while (!work.empty()) {
    const int e = work.back();
    work.pop_back();
    if (known.contains(e) || !(emitter.varies()[e] >> dim & 1) || !seen.insert(e).second) continue;
    const Expr& expr = body.exprs[e];
    if (expr.kind == Expr::Kind::kLoad) loads.insert(e);
    if (expr.kind == Expr::Kind::kLoad && body.operands[expr.operand].row >= 0) work.push_back(body.operands[expr.operand].row);
    if (expr.kind != Expr::Kind::kApply) continue;
    for (int i = 0; i < Arity(expr.fn); ++i) work.push_back(expr.args[i]);
  }
  return {loads.begin(), loads.end()};
}

void WriteCudaPoint(const CudaPoint& point, const Body& body, const std::vector<KernelArg>& args, CudaEmitter* emitter, SourceWriter* out,
                    const std::function<void()>& compute) {
  std::vector<int> roots = point.roots;
  for (const Store* store : point.stores) roots.push_back(store->expr);
  auto memory_vec = [&](const Operand& operand) { return VecType(args[operand.arg].dtype, point.lanes, true); };
  auto is_vec = [&](const Operand& operand, int64_t begin) { return emitter->IsVec(operand, point.dim, point.lanes, begin); };
  auto begin_of = [](const Store& store) { return store.end < 0 ? int64_t{0} : store.begin; };

  emitter->Push();
  emitter->SetIndex(point.dim, "");
  emitter->Hoist(roots);
  emitter->SetIndex(point.dim, point.index);
  std::map<int, std::string> vecs;                           // loads that are read as a Vec, and its name
  for (int e : LoadsAlong(body, *emitter, roots, point.dim, point.loads)) {
    const Operand& operand = body.operands[body.exprs[e].operand];
    if (!is_vec(operand, 0)) continue;
    const std::string pointer = emitter->Pointer(operand);
    const auto saved = point.saves.find(e);
    vecs[e] = saved != point.saves.end() ? saved->second : fmt::format("v{}", e);
    const std::string declared = saved != point.saves.end() ? saved->second : fmt::format("const {} v{}", memory_vec(operand), e);
    out->Line("{} = *(const {}*)({});", declared, memory_vec(operand), pointer);
  }
  if (!vecs.empty()) emitter->Use("vec");
  std::map<const Store*, std::string> results;               // stores that are written as a Vec, and its name
  for (const Store* store : point.stores) {
    if (!is_vec(store->operand, begin_of(*store))) continue;
    emitter->Use("vec");
    results[store] = fmt::format("w{}", store - body.stores.data());
    out->Line("{} {};", memory_vec(store->operand), results[store]);
  }

  if (point.lanes > 1) {
    out->Line("#pragma unroll");
    out->Open("for (int l = 0; l < {}; ++l)", point.lanes);
    emitter->SetIndex(point.dim, fmt::format("({} + l)", point.index));
  }
  const std::string lane = point.lanes > 1 ? ".v[l]" : ".v[0]";
  emitter->Push();
  for (const auto& [e, name] : vecs) emitter->BindElement(e, name + lane);
  for (const auto& [e, name] : point.loads) {
    if (IsRawSave(body, *emitter, e, point.dim, point.lanes)) {
      emitter->BindElement(e, name + lane);
    } else {
      emitter->Bind(e, name + lane);
    }
  }
  compute();
  for (const auto& [e, name] : point.saves) {
    if (!vecs.contains(e)) out->Line("{}{} = {};", name, lane, emitter->Get(e));
  }
  for (const Store* store : point.stores) {
    if (results.contains(store)) {
      const std::string element = emitter->Element(*store);
      out->Line("{}{} = {};", results[store], lane, element);
    } else {
      emitter->EmitStore(*store);
    }
  }
  emitter->Pop();
  if (point.lanes > 1) {
    out->Close();
    emitter->SetIndex(point.dim, point.index);
  }
  for (const auto& [store, name] : results) {
    out->Line("*({}*)({}) = {};", memory_vec(store->operand), emitter->Pointer(store->operand, begin_of(*store)), name);
  }
  emitter->Pop();
}

}  // namespace athanor
