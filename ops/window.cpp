#include "ops/window.h"

#include <algorithm>

#include "ops/error.h"
#include "ops/op.h"

namespace athanor {
namespace {

using Ints = std::vector<int64_t>;

std::vector<TensorDesc> Infer(const OpCall& call) {
  const Shape& in = call.in(0).shape;
  const Ints& dims = call.attr<Ints>("dim");
  if (!std::is_sorted(dims.begin(), dims.end(), std::less_equal<>()) || dims.empty() || dims[0] < 0 ||
      dims.back() >= static_cast<int64_t>(in.size())) {
    Fail("_window: dim is {}, expected ascending dimensions of an input of shape {}", ToString(dims), ToString(in));
  }
  for (std::string_view name : {"extent", "kernel", "start", "stride", "dilation"}) {
    const Ints& values = call.attr<Ints>(name);
    if (values.size() != dims.size()) Fail("_window: {} has {} numbers, expected {}", name, values.size(), dims.size());
    const bool size = name == "extent" || name == "kernel";
    if (size && *std::min_element(values.begin(), values.end()) < 0) Fail("_window: {} is {}", name, ToString(values));
  }
  Shape shape;
  for (size_t d = 0, w = 0; d < in.size(); ++d) {
    if (w < dims.size() && dims[w] == static_cast<int64_t>(d)) {
      shape.push_back(call.attr<Ints>("extent")[w]);
      shape.push_back(call.attr<Ints>("kernel")[w++]);
    } else {
      shape.push_back(in[d]);
    }
  }
  return {{call.in(0).dtype, shape}};
}

void Reference(const OpCall& call, std::span<const HostTensor* const> in, std::span<HostTensor> out) {
  const Shape& from = in[0]->desc().shape;
  const Shape& to = out[0].desc().shape;
  const Ints &dims = call.attr<Ints>("dim"), &start = call.attr<Ints>("start"), &stride = call.attr<Ints>("stride"),
             &dilation = call.attr<Ints>("dilation");
  const double fill = call.attr<double>("fill");
  const std::vector<int64_t> strides = ContiguousStrides(from);
  Ints index(to.size(), 0);
  for (int64_t flat = 0; flat < out[0].elements(); ++flat) {
    int64_t rest = flat;
    for (size_t d = to.size(); d-- > 0; rest /= to[d]) index[d] = rest % to[d];
    int64_t address = 0;
    bool inside = true;
    for (size_t d = 0, w = 0, t = 0; d < from.size(); ++d) {
      int64_t at = index[t++];
      if (w < dims.size() && dims[w] == static_cast<int64_t>(d)) {
        at = start[w] + at * stride[w] + index[t++] * dilation[w];
        ++w;
      }
      inside &= at >= 0 && at < from[d];
      address += at * strides[d];
    }
    out[0].Set(flat, inside ? in[0]->Get(address) : fill);
  }
}

}  // namespace

void RegisterWindowOps() {
  using Type = AttrSpec::Type;
  RegisterOp({.name = "_window",
              .kind = OpKind::kWindow,
              .attrs = {{"dim", Type::kInts},
                        {"extent", Type::kInts},
                        {"kernel", Type::kInts},
                        {"start", Type::kInts},
                        {"stride", Type::kInts},
                        {"dilation", Type::kInts},
                        {"fill", Type::kFloat, 0.0}},
              .internal = true,
              .infer = Infer,
              .reference = Reference});
}

}  // namespace athanor
