#include "runtime/c_api/tensors.h"

#include <algorithm>

#include "ops/error.h"
#include "runtime/strided_copy.h"

namespace athanor {
namespace {

std::string ToText(DLDataType dtype) {
  static constexpr const char* kNames[] = {"int", "uint", "float", "handle", "bfloat", "complex", "bool"};
  const std::string name = dtype.code < std::size(kNames) ? kNames[dtype.code] : fmt::format("code {} with ", dtype.code);
  return fmt::format("{}{}{}", name, dtype.bits, dtype.lanes == 1 ? "" : fmt::format("x{}", dtype.lanes));
}

std::string ToText(DLDevice device) {
  switch (device.device_type) {
    case kDLCUDA: return fmt::format("CUDA device {}", device.device_id);
    case kDLROCM: return fmt::format("ROCm device {}", device.device_id);
    case kDLMetal: return "a Metal device";
    case kDLOneAPI: return fmt::format("oneAPI device {}", device.device_id);
    default: return fmt::format("a device of DLPack's type {}", static_cast<int>(device.device_type));
  }
}

bool InHostMemory(DLDevice device) {
  return device.device_type == kDLCPU || device.device_type == kDLCUDAHost || device.device_type == kDLROCMHost;
}

// Equal up to the strides of extents that are never stepped along.
bool SameArrangement(const Shape& shape, const std::vector<int64_t>& a, const std::vector<int64_t>& b) {
  if (Product(shape) == 0) return true;
  for (size_t d = 0; d < shape.size(); ++d) {
    if (shape[d] > 1 && a[d] != b[d]) return false;
  }
  return true;
}

}  // namespace

DLDataType ToDLDataType(DType dtype) {
  const auto bits = static_cast<uint8_t>(SizeOf(dtype) * 8);
  switch (dtype) {
    case DType::kBF16: return {kDLBfloat, bits, 1};
    case DType::kI32:
    case DType::kI64: return {kDLInt, bits, 1};
    case DType::kU8: return {kDLUInt, bits, 1};
    case DType::kBool: return {kDLBool, bits, 1};
    default: return {kDLFloat, bits, 1};
  }
}

PlacedTensor::PlacedTensor(std::string_view role, std::string_view name, const TensorDesc& desc, const DLTensor* tensor) : desc_(desc) {
  if (tensor == nullptr) Fail("{} '{}': the tensor is NULL", role, name);
  if (!InHostMemory(tensor->device)) Fail("{} '{}' is on {}, expected host memory", role, name, ToText(tensor->device));
  const DLDataType dtype = ToDLDataType(desc.dtype);
  if (tensor->dtype.code != dtype.code || tensor->dtype.bits != dtype.bits || tensor->dtype.lanes != 1) {
    Fail("{} '{}' has dtype {}, expected {}", role, name, ToText(tensor->dtype), Name(desc.dtype));
  }
  if (tensor->ndim < 0 || (tensor->ndim > 0 && tensor->shape == nullptr)) Fail("{} '{}': the tensor has no valid shape", role, name);
  const Shape shape(tensor->shape, tensor->shape + tensor->ndim);
  if (shape != desc.shape) Fail("{} '{}' has shape {}, expected {}", role, name, ToString(shape), ToString(desc.shape));
  const bool empty = desc.elements() == 0;
  if (tensor->data == nullptr && !empty) Fail("{} '{}': its data pointer is NULL", role, name);
  theirs_ = static_cast<std::byte*>(tensor->data) + tensor->byte_offset;
  if (!empty && reinterpret_cast<uintptr_t>(theirs_) % static_cast<uintptr_t>(SizeOf(desc.dtype)) != 0) {
    Fail("{} '{}': its address is no multiple of the {} bytes of an element", role, name, SizeOf(desc.dtype));
  }
  our_strides_ = desc.strides.empty() ? ContiguousStrides(shape) : desc.strides;
  their_strides_ = tensor->strides == nullptr ? ContiguousStrides(shape) : std::vector<int64_t>(tensor->strides, tensor->strides + shape.size());
  if (!SameArrangement(shape, their_strides_, our_strides_)) copy_.reset(new std::byte[desc.storage_elements() * SizeOf(desc.dtype)]);
}

void PlacedTensor::Fetch() {
  if (copy_) StridedCopy(desc_.shape, SizeOf(desc_.dtype), theirs_, their_strides_, copy_.get(), our_strides_);
}

void PlacedTensor::Deliver() const {
  if (copy_) StridedCopy(desc_.shape, SizeOf(desc_.dtype), copy_.get(), our_strides_, theirs_, their_strides_);
}

}  // namespace athanor
