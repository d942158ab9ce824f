#include "jit/foreach.h"

#include <algorithm>
#include <map>
#include <set>
#include <string>

namespace athanor {
namespace {

// One stride and, where every element has its own, any offset.
bool IsUniform(const Layout& map) {
  if (map.rank() != 1 || map.dim(0).size() > 1) return false;
  return map.offset() == 0 || (map.offset() > 0 && FirstStride(map.dim(0)) != 0);
}

// Flat loops, in which each argument is addressed in one way.
bool IsFlat(const KernelPlan& plan) {
  if (plan.skeleton != Skeleton::kPointwise) return false;
  const Body& body = std::get<LoopPlan>(plan.detail).body;
  if (body.rank() != 1 || body.extents[0] == 0) return false;
  std::map<int, int64_t> offsets;
  const auto fits = [&](const Operand& o) {
    return o.row < 0 && o.pieces.empty() && IsUniform(o.map) && offsets.try_emplace(o.arg, o.map.offset()).first->second == o.map.offset();
  };
  return std::all_of(body.operands.begin(), body.operands.end(), fits) &&
         std::all_of(body.stores.begin(), body.stores.end(), [&](const Store& s) { return s.end < 0 && fits(s.operand); });
}

// The same with arguments that begin where they are used.
KernelPlan WithoutOffsets(KernelPlan plan) {
  Body& body = std::get<LoopPlan>(plan.detail).body;
  const auto move = [&](Operand& operand) {
    KernelArg& arg = plan.args[operand.arg];
    if (operand.map.offset() != arg.offset) arg.elements -= operand.map.offset(), arg.offset = operand.map.offset();
    operand.map = Layout(0, operand.map.dims());
  };
  for (Operand& operand : body.operands) move(operand);
  for (Store& store : body.stores) move(store.operand);
  return plan;
}

// What two kernels must share to be one: the body without its extent, and the buffers of the scalars.
std::string Family(const KernelPlan& plan) {
  Body body = std::get<LoopPlan>(plan.detail).body;
  auto erase = [](Layout& map) {
    const int64_t stride = map.dim(0).empty() ? 0 : map.dim(0)[0].stride;
    map = Layout(0, {{{2, stride}}});
  };
  std::string family;
  for (Operand& operand : body.operands) {
    erase(operand.map);
    if (operand.map.dim(0)[0].stride == 0) family += "scalar " + std::to_string(plan.args[operand.arg].buffer) + "; ";
  }
  for (Store& store : body.stores) erase(store.operand.map);
  body.extents = {2};
  return family + ToString(body);
}

}  // namespace

void MergeForeach(Program* program) {
  std::set<int> read, overwritten;
  for (const Program::Buffer& buffer : program->buffers) {
    if (buffer.alias >= 0) overwritten.insert(buffer.alias);
  }
  for (const KernelPlan& kernel : program->kernels) {
    for (const KernelArg& arg : kernel.args) {
      if (arg.read) read.insert(arg.buffer);
    }
  }
  std::map<std::string, std::vector<size_t>> families;
  for (size_t i = 0; i < program->kernels.size(); ++i) {
    const KernelPlan& kernel = program->kernels[i];
    const auto writes_over = [&](int input) {
      return std::any_of(kernel.args.begin(), kernel.args.end(), [&](const KernelArg& a) { return a.written && program->buffers[a.buffer].alias == input; });
    };
    const bool movable = std::all_of(kernel.args.begin(), kernel.args.end(), [&](const KernelArg& a) {
      return a.written ? !read.count(a.buffer) : !overwritten.count(a.buffer) || writes_over(a.buffer);
    });
    if (movable && IsFlat(kernel)) families[Family(kernel)].push_back(i);
  }
  std::set<size_t> gone;
  for (const auto& [family, members] : families) {
    if (members.size() < 2) continue;
    // The last one takes the others in: all that they read is ready by then, and still there, and nothing waits for them.
    KernelPlan merged = WithoutOffsets(program->kernels[members[0]]);
    LoopPlan& loop = std::get<LoopPlan>(merged.detail);
    loop.instance_elements = {loop.body.extents[0]};
    for (size_t m = 1; m < members.size(); ++m) {
      const KernelPlan next = WithoutOffsets(program->kernels[members[m]]);
      loop.instance_elements.push_back(std::get<LoopPlan>(next.detail).body.extents[0]);
      merged.args.insert(merged.args.end(), next.args.begin(), next.args.end());
      merged.bytes += next.bytes;
    }
    program->kernels[members.back()] = std::move(merged);
    gone.insert(members.begin(), members.end() - 1);
  }
  std::vector<KernelPlan> kept;
  for (size_t i = 0; i < program->kernels.size(); ++i) {
    if (!gone.count(i)) kept.push_back(std::move(program->kernels[i]));
  }
  program->kernels = std::move(kept);
}

}  // namespace athanor
