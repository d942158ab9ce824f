#include "ops/layout.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <numeric>
#include <random>

#include "ops/tensor_desc.h"

namespace athanor {
namespace {

using Addresses = std::vector<int64_t>;                      // of every index of a space, in row-major order

std::vector<int64_t> IndexOf(int64_t flat, const Shape& shape) {
  std::vector<int64_t> index(shape.size());
  for (int d = static_cast<int>(shape.size()) - 1; d >= 0; --d) index[d] = flat % shape[d], flat /= shape[d];
  return index;
}

Addresses AllAddresses(const Layout& layout) {
  Addresses all;
  const Shape shape = layout.shape();
  for (int64_t i = 0; i < Product(shape); ++i) all.push_back(layout.Address(IndexOf(i, shape)));
  return all;
}

// Whether f over [0, n) is a sum over the digits of some mixed radix, with strides >= 0: by trying every divisor as the lowest digit.
bool HasDigits(const Addresses& f) {
  const auto n = static_cast<int64_t>(f.size());
  if (n == 1) return true;
  if (f[1] < 0) return false;
  for (int64_t e = 2; e <= n; ++e) {
    if (f[e - 1] != f[1] * (e - 1)) return false;            // the lowest digit is not longer than the first straight run
    if (n % e != 0) continue;
    bool splits = true;
    for (int64_t i = 0; i < n && splits; ++i) splits = f[i] == f[i / e * e] + f[1] * (i % e);
    Addresses high;
    for (int64_t j = 0; j < n; j += e) high.push_back(f[j]);
    if (splits && HasDigits(high)) return true;
  }
  return false;
}

// Whether addresses over `shape` are a constant plus, for each dimension, a function of the digits of its index.
bool IsSeparable(const Addresses& addresses, const Shape& shape) {
  if (addresses.empty()) return true;
  std::vector<Addresses> along;
  int64_t stride = static_cast<int64_t>(addresses.size());
  for (int64_t extent : shape) {
    stride /= extent;
    along.emplace_back();
    for (int64_t i = 0; i < extent; ++i) along.back().push_back(addresses[i * stride] - addresses[0]);
    if (!HasDigits(along.back())) return false;
  }
  for (size_t i = 0; i < addresses.size(); ++i) {
    int64_t sum = addresses[0];
    const std::vector<int64_t> index = IndexOf(static_cast<int64_t>(i), shape);
    for (size_t d = 0; d < shape.size(); ++d) sum += along[d][index[d]];
    if (sum != addresses[i]) return false;
  }
  return true;
}

class ViewChain {
 public:
  explicit ViewChain(uint32_t seed) : random_(seed) {
    Shape shape;
    for (int64_t rank = Random(1, 4); rank > 0; --rank) shape.push_back(Choose({1, 2, 3, 4, 6, 8, 12}));
    layout_ = Layout::Contiguous(shape);
    addresses_.resize(Product(shape));
    std::iota(addresses_.begin(), addresses_.end(), 0);
  }

  // A random view of the current layout. One that has no separable form is left out.
  void Step() {
    switch (Random(0, 5)) {
      case 0: return Permute();
      case 1: return Slice();
      case 2: return Select();
      case 3: return Expand();
      case 4: return Compose();
      default: return Reshape();
    }
  }
  int refused() const { return refused_; }
  int accepted() const { return accepted_; }

 private:
  int64_t Random(int64_t low, int64_t high) { return std::uniform_int_distribution<int64_t>(low, high)(random_); }
  int64_t Choose(std::initializer_list<int64_t> values) { return values.begin()[Random(0, static_cast<int64_t>(values.size()) - 1)]; }
  int64_t At(const std::vector<int64_t>& index) const {
    int64_t flat = 0;
    for (int d = 0; d < layout_.rank(); ++d) flat = flat * layout_.extent(d) + index[d];
    return addresses_[flat];
  }

  // `source` gives the index in the current space of an index in the new one.
  template <typename Source>
  void Take(const std::optional<Layout>& result, const Shape& shape, const char* what, Source source) {
    Addresses expected;
    for (int64_t i = 0; i < Product(shape); ++i) expected.push_back(At(source(IndexOf(i, shape))));
    const std::string trace = std::string(what) + " of " + ToString(layout_) + " to " + ToString(shape);
    ASSERT_TRUE(expected.empty() || result.has_value() == IsSeparable(expected, shape)) << trace;
    if (!result) return void(++refused_);
    ++accepted_;
    ASSERT_EQ(result->shape(), shape) << trace;
    ASSERT_EQ(AllAddresses(*result), expected) << trace << " gave " << ToString(*result);
    std::vector<int64_t> straight(expected.size());
    std::iota(straight.begin(), straight.end(), 0);
    EXPECT_EQ(result->IsContiguous(), expected.empty() ? result->IsContiguous() : expected == straight) << trace;
    layout_ = *result;
    addresses_ = std::move(expected);
  }

  void Permute() {
    std::vector<int> order(layout_.rank());
    std::iota(order.begin(), order.end(), 0);
    std::shuffle(order.begin(), order.end(), random_);
    const Layout result = layout_.Permute(order);
    Take(result, result.shape(), "permute", [&](const std::vector<int64_t>& index) {
      std::vector<int64_t> from(index.size());
      for (size_t d = 0; d < index.size(); ++d) from[order[d]] = index[d];
      return from;
    });
  }

  void Slice() {
    if (layout_.rank() == 0) return;
    const auto dim = static_cast<int>(Random(0, layout_.rank() - 1));
    const int64_t start = Random(0, std::max<int64_t>(0, layout_.extent(dim) - 1)), step = Random(1, 4);
    const int64_t extent = Random(Random(0, 9) == 0 ? 0 : 1, std::max<int64_t>(1, (layout_.extent(dim) - start + step - 1) / step));
    if (start + (extent - 1) * step >= layout_.extent(dim)) return;
    Shape shape = layout_.shape();
    shape[dim] = extent;
    Take(layout_.Slice(dim, start, extent, step), shape, "slice", [&](std::vector<int64_t> index) {
      index[dim] = start + index[dim] * step;
      return index;
    });
  }

  void Select() {
    if (layout_.rank() < 2) return;
    const auto dim = static_cast<int>(Random(0, layout_.rank() - 1));
    if (layout_.extent(dim) == 0) return;
    const int64_t at = Random(0, layout_.extent(dim) - 1);
    const Layout result = layout_.Select(dim, at);
    Take(result, result.shape(), "select", [&](std::vector<int64_t> index) {
      index.insert(index.begin() + dim, at);
      return index;
    });
  }

  void Expand() {
    Shape shape = layout_.shape();
    if (Product(shape) > 200) return;
    for (int64_t& extent : shape) extent = extent == 1 ? Random(1, 3) : extent;
    if (shape.size() < 4 && Random(0, 1)) shape.insert(shape.begin(), Random(1, 3));
    const int added = static_cast<int>(shape.size()) - layout_.rank();
    Take(layout_.Expand(shape), shape, "expand", [&](const std::vector<int64_t>& index) {
      std::vector<int64_t> from(index.begin() + added, index.end());
      for (int d = 0; d < layout_.rank(); ++d) from[d] = layout_.extent(d) == 1 ? 0 : from[d];
      return from;
    });
  }

  Shape RandomFactors(int64_t elements) {
    Shape shape;
    while (elements > 1 && shape.size() < 4) {
      std::vector<int64_t> divisors;
      for (int64_t e = 2; e <= elements; ++e) {
        if (elements % e == 0) divisors.push_back(e);
      }
      shape.push_back(divisors[Random(0, static_cast<int64_t>(divisors.size()) - 1)]);
      elements /= shape.back();
      if (Random(0, 7) == 0) shape.push_back(1);
    }
    if (elements > 1 || shape.empty()) shape.push_back(elements);
    std::shuffle(shape.begin(), shape.end(), random_);
    return shape;
  }

  void Reshape() {
    const Shape shape = RandomFactors(Product(layout_.shape()));
    const Shape old = layout_.shape();
    Take(layout_.Reshape(shape), shape, "reshape", [&](const std::vector<int64_t>& index) {
      int64_t flat = 0;
      for (size_t d = 0; d < shape.size(); ++d) flat = flat * shape[d] + index[d];
      return IndexOf(flat, old);
    });
  }

  // A permuted, sliced reshape in one step.
  void Compose() {
    const Shape old = layout_.shape(), factors = RandomFactors(Product(old));
    std::vector<int> order(factors.size());
    std::iota(order.begin(), order.end(), 0);
    std::shuffle(order.begin(), order.end(), random_);
    Layout view = Layout::Contiguous(factors).Permute(order);
    if (view.extent(0) > 1 && Random(0, 1)) view = *view.Slice(0, 1, view.extent(0) - 1, 1);
    const Shape shape = view.shape();
    Take(layout_.Compose(view), shape, "compose", [&](const std::vector<int64_t>& index) { return IndexOf(view.Address(index), old); });
  }

  std::mt19937 random_;
  Layout layout_;
  Addresses addresses_;
  int refused_ = 0, accepted_ = 0;
};

TEST(Layout, RandomViewChainsEqualIndexArithmetic) {
  int refused = 0, accepted = 0;
  for (uint32_t seed = 0; seed < 5000 && !HasFatalFailure(); ++seed) {
    ViewChain chain(seed);
    for (int step = 0; step < 6 && !HasFatalFailure(); ++step) chain.Step();
    refused += chain.refused(), accepted += chain.accepted();
  }
  EXPECT_GT(refused, 100);                                   // the test reaches both outcomes
  EXPECT_GT(accepted, 10000);
}

TEST(Layout, HeadSplitIsOneMap) {
  // [batch 2, tokens 128, 3 * 12 * 64] -> queries of all heads [2, 12, 128, 64] -> merged again.
  const Layout packed = Layout::Contiguous({2, 128, 2304});
  const auto split = packed.Reshape({2, 128, 3, 12, 64});
  ASSERT_TRUE(split);
  const Layout keys = split->Select(2, 1).Permute({0, 2, 1, 3});
  EXPECT_EQ(keys.Address({1, 3, 5, 7}), 1 * 128 * 2304 + 5 * 2304 + 768 + 3 * 64 + 7);
  const auto merged = keys.Permute({0, 2, 1, 3}).Reshape({256, 768});
  ASSERT_TRUE(merged);
  EXPECT_EQ(ToString(*merged), "(256:2304 | 768:1) + 768");
  EXPECT_FALSE(merged->IsContiguous());
}

TEST(Layout, PatchesAreOneMap) {
  // Image [1, 28, 28] -> 49 patches of 4 x 4.
  const auto split = Layout::Contiguous({7, 4, 7, 4});
  const auto patches = split.Permute({0, 2, 1, 3}).Reshape({49, 16});
  ASSERT_TRUE(patches);
  EXPECT_EQ(ToString(*patches), "(7:4 7:112 | 4:1 4:28)");
  EXPECT_EQ(patches->Address({8, 5}), 112 + 4 + 28 + 1);
}

TEST(Layout, CommonRadixSplits) {
  // Pixels of rows of 6 in two images, as an address with a border of 1 and as the coordinate within the row.
  const Layout address(7, {{{6, 1}, {4, 8}, {2, 100}}}), column(-1, {{{6, 1}, {8, 0}}});
  const auto radix = CommonRadix({address.dim(0), column.dim(0)});
  ASSERT_TRUE(radix);
  EXPECT_EQ(*radix, (std::vector<int64_t>{6, 4, 2}));
  for (const Layout& whole : {address, column}) {
    const Layout split = whole.Split({*radix});
    ASSERT_EQ(split.rank(), 3);
    for (int64_t i = 0; i < 48; ++i) EXPECT_EQ(split.Address({i / 24, i / 6 % 4, i % 6}), whole.Address({i}));
  }
  EXPECT_FALSE(CommonRadix({{{4, 1}, {3, 10}}, {{6, 1}, {2, 0}}}));  // 4 and 6 do not nest
  EXPECT_EQ(FirstStride({{1, 9}, {5, 3}}), 3);
}

TEST(Layout, NoSeparableForm) {
  EXPECT_FALSE(Layout::Contiguous({3, 4}).Permute({1, 0}).Reshape({6, 2}));   // a digit of 3 does not split into 2
  EXPECT_FALSE(Layout::Contiguous({2, 3}).Permute({1, 0}).Reshape({6})->Slice(0, 1, 4, 1));
}

TEST(Layout, EmptyAndScalar) {
  for (const Shape& shape : {Shape{0}, Shape{0, 3}, Shape{3, 0, 2}}) {
    const Layout empty = Layout::Contiguous(shape);
    EXPECT_EQ(empty.shape(), shape);
    const auto reshaped = empty.Reshape({5, 0});
    ASSERT_TRUE(reshaped);
    EXPECT_EQ(reshaped->shape(), (Shape{5, 0}));
    std::vector<int> back(shape.size());
    std::iota(back.rbegin(), back.rend(), 0);
    EXPECT_EQ(Product(empty.Permute(back).shape()), 0);
    EXPECT_TRUE(empty.Slice(0, 0, 0, 1));
    EXPECT_EQ(Offset(empty.dim(0), 0), 0);
  }
  const Layout scalar = Layout::Contiguous({});
  EXPECT_EQ(scalar.rank(), 0);
  EXPECT_TRUE(scalar.IsContiguous());
  EXPECT_EQ(scalar.Reshape({1, 1})->shape(), (Shape{1, 1}));
  EXPECT_EQ(scalar.Expand({2, 3}).Address({1, 2}), 0);
  EXPECT_EQ(Layout::Contiguous({1, 1}).Reshape({})->rank(), 0);
  EXPECT_EQ(Layout::Contiguous({3}).Slice(0, 1, 0, 2)->shape(), (Shape{0}));
}

TEST(Layout, CoalesceJoinsDigits) {
  EXPECT_EQ(Coalesce({{4, 1}, {1, 99}, {3, 4}, {2, 24}}), (Digits{{12, 1}, {2, 24}}));
  EXPECT_EQ(Coalesce({{3, 0}, {5, 0}}), (Digits{{15, 0}}));
  EXPECT_TRUE(Coalesce({{1, 7}}).empty());
}

}  // namespace
}  // namespace athanor
