#include "ops/tensor_desc.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <array>
#include <functional>
#include <numeric>

namespace athanor {
namespace {

struct DTypeInfo {
  DType dtype;
  std::string_view name;
  int64_t bytes;
  bool is_float;
};

constexpr std::array<DTypeInfo, 8> kDTypes = {{{DType::kF32, "f32", 4, true},
                                               {DType::kBF16, "bf16", 2, true},
                                               {DType::kF16, "f16", 2, true},
                                               {DType::kF64, "f64", 8, true},
                                               {DType::kI32, "i32", 4, false},
                                               {DType::kI64, "i64", 8, false},
                                               {DType::kU8, "u8", 1, false},
                                               {DType::kBool, "bool", 1, false}}};

const DTypeInfo& Info(DType dtype) { return kDTypes[static_cast<size_t>(dtype)]; }

}  // namespace

std::string_view Name(DType dtype) { return Info(dtype).name; }
int64_t SizeOf(DType dtype) { return Info(dtype).bytes; }
bool IsFloat(DType dtype) { return Info(dtype).is_float; }

bool IsHalf(DType dtype) { return dtype == DType::kBF16 || dtype == DType::kF16; }

std::optional<DType> ParseDType(std::string_view name) {
  for (const DTypeInfo& info : kDTypes) {
    if (info.name == name) return info.dtype;
  }
  return std::nullopt;
}

int64_t TensorDesc::elements() const { return Product(shape); }

bool TensorDesc::contiguous() const { return strides.empty() || strides == ContiguousStrides(shape); }

int64_t TensorDesc::storage_elements() const {
  if (elements() == 0) return 0;
  const std::vector<int64_t> steps = strides.empty() ? ContiguousStrides(shape) : strides;
  int64_t last = 0;
  for (size_t d = 0; d < shape.size(); ++d) last += (shape[d] - 1) * steps[d];
  return last + 1;
}

std::vector<int64_t> ContiguousStrides(const Shape& shape) {
  std::vector<int64_t> strides(shape.size(), 1);
  for (size_t d = shape.size(); d-- > 1;) strides[d - 1] = strides[d] * std::max<int64_t>(shape[d], 1);
  return strides;
}

int64_t Product(const Shape& shape) { return std::accumulate(shape.begin(), shape.end(), int64_t{1}, std::multiplies<>()); }

std::string ToString(const Shape& shape) { return fmt::format("[{}]", fmt::join(shape, ", ")); }

std::string ToString(const TensorDesc& desc) { return fmt::format("{}{}", Name(desc.dtype), ToString(desc.shape)); }

}  // namespace athanor
