#pragma once

#include <memory>
#include <string_view>
#include <vector>

#include "ops/tensor_desc.h"
#include "runtime/athanor.h"

namespace athanor {

DLDataType ToDLDataType(DType dtype);

// A caller's tensor made to lie in memory as an executable wants it: where it already does, it serves as it is; else through a
// copy in memory of our own. `role` ("input", "output") and `name` are for messages.
class PlacedTensor {
 public:
  // Throws Error where device, dtype, shape, data pointer or alignment don't fit `desc`.
  PlacedTensor(std::string_view role, std::string_view name, const TensorDesc& desc, const DLTensor* tensor);

  void Fetch();                                              // inputs: brings the caller's elements here, where a copy is needed
  void Deliver() const;                                      // outputs: takes ours there
  void* data() { return copy_ ? copy_.get() : theirs_; }

 private:
  const TensorDesc& desc_;
  std::byte* theirs_ = nullptr;
  std::vector<int64_t> their_strides_, our_strides_;
  std::unique_ptr<std::byte[]> copy_;                        // null: the caller's memory serves
};

}  // namespace athanor
