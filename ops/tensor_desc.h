#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace athanor {

enum class DType : uint8_t { kF32, kBF16, kF16, kF64, kI32, kI64, kU8, kBool };

std::string_view Name(DType dtype);                          // "f32", "i64", ...
std::optional<DType> ParseDType(std::string_view name);
int64_t SizeOf(DType dtype);                                 // bytes of one element
bool IsFloat(DType dtype);
bool IsHalf(DType dtype);                                    // bf16 or f16: held in 16 bits, computed in f32

using Shape = std::vector<int64_t>;

// The type of a tensor: element type, extents, and strides in elements (row-major contiguous when empty).
struct TensorDesc {
  DType dtype = DType::kF32;
  Shape shape;
  std::vector<int64_t> strides = {};

  int rank() const { return static_cast<int>(shape.size()); }
  int64_t elements() const;                                  // product of the extents; 1 for a scalar
  bool contiguous() const;                                   // strides empty, or equal to ContiguousStrides(shape)
  // Elements of storage from the first to the last addressed one, inclusive; 0 for an empty tensor.
  int64_t storage_elements() const;
  bool operator==(const TensorDesc&) const = default;
};

std::vector<int64_t> ContiguousStrides(const Shape& shape);
int64_t Product(const Shape& shape);
std::string ToString(const Shape& shape);                    // "[4, 128, 768]"
std::string ToString(const TensorDesc& desc);                // "f32[4, 128, 768]"

}  // namespace athanor
