#pragma once

#include <cstddef>
#include <new>
#include <span>
#include <vector>

#include "ops/tensor_desc.h"

namespace athanor {

// Memory on a cache line's boundary, as frameworks give it: kernels stream to and from it without crossing lines.
template <typename T>
struct LineAllocator {
  using value_type = T;
  LineAllocator() = default;
  template <typename U>
  LineAllocator(const LineAllocator<U>&) {}
  T* allocate(size_t n) { return static_cast<T*>(::operator new(n * sizeof(T), std::align_val_t(64))); }
  void deallocate(T* p, size_t) { ::operator delete(p, std::align_val_t(64)); }
  bool operator==(const LineAllocator&) const = default;
};

// A dense row-major tensor in host memory: what the reference interpreter computes on. Elements of every dtype are read and
// written as double (integers beyond 2^53 are refused on reading a file); Set rounds to the dtype.
class HostTensor {
 public:
  HostTensor() = default;
  HostTensor(DType dtype, Shape shape);                      // zeros; `desc().strides` stays empty

  const TensorDesc& desc() const { return desc_; }
  int64_t elements() const { return desc_.elements(); }
  double Get(int64_t index) const;                           // flat row-major index
  void Set(int64_t index, double value);
  std::vector<double> ToDoubles() const;                     // all elements at once: much faster than Get one by one
  void Assign(std::span<const double> values);               // sets all elements
  std::byte* data() { return data_.data(); }
  const std::byte* data() const { return data_.data(); }
  int64_t bytes() const { return static_cast<int64_t>(data_.size()); }

 private:
  TensorDesc desc_;
  std::vector<std::byte, LineAllocator<std::byte>> data_;
};

// The nearest value of `dtype`, rounded as Set does.
double RoundTo(DType dtype, double value);

// The largest difference between two tensors of one shape, relative to the largest finite magnitude of `expected` or to `least`.
// Infinite where an element is NaN or infinite in one of them and not the same in the other.
double RelativeError(const HostTensor& expected, const HostTensor& actual, double least = 1e-30);

}  // namespace athanor
