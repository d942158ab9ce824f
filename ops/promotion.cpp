#include "ops/promotion.h"

#include <algorithm>
#include <array>
#include <optional>

#include "ops/error.h"

namespace athanor {
namespace {

int Category(DType dtype) { return IsFloat(dtype) ? 2 : dtype == DType::kBool ? 0 : 1; }

DType Wider(DType a, DType b) {
  if (Category(a) != Category(b)) return Category(a) > Category(b) ? a : b;
  if (a != b && IsFloat(a) && SizeOf(a) == SizeOf(b)) return DType::kF32;
  return SizeOf(a) >= SizeOf(b) ? a : b;
}

}  // namespace

DType PromotedDType(const Graph& graph, std::span<const ValueId> operands) {
  std::array<std::optional<DType>, 3> ranks;                 // of tensors with dimensions, scalar tensors, literals
  const bool only_literals =
      std::all_of(operands.begin(), operands.end(), [&](ValueId v) { return v == kNone || graph.value(v).constant; });
  for (const ValueId v : operands) {
    if (v == kNone) continue;
    const Value& value = graph.value(v);
    const size_t rank = value.constant ? 2 : value.desc.rank() == 0 ? 1 : 0;
    const DType dtype = rank == 2 && !only_literals && IsFloat(value.desc.dtype) ? DType::kF32 : value.desc.dtype;
    ranks[rank] = ranks[rank] ? Wider(*ranks[rank], dtype) : dtype;
  }
  std::optional<DType> result;
  for (const std::optional<DType>& dtype : ranks) {
    if (dtype && (!result || Category(*dtype) > Category(*result))) result = dtype;
  }
  ATHANOR_CHECK(result);
  return *result;
}

}  // namespace athanor
