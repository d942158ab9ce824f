#include "jit/winograd.h"

#include <algorithm>
#include <cmath>

#include "jit/contract_operand.h"
#include "jit/window_copier.h"
#include "ops/error.h"

namespace athanor {
namespace {

// Coefficients of the product of (x - p) over all points but number `left_out`, the constant one first.
std::vector<double> Product(const std::vector<double>& points, size_t left_out) {
  std::vector<double> polynomial = {1};
  for (size_t i = 0; i < points.size(); ++i) {
    if (i == left_out) continue;
    polynomial.push_back(0);
    for (size_t c = polynomial.size() - 1; c > 0; --c) polynomial[c] = polynomial[c - 1] - points[i] * polynomial[c];
    polynomial[0] *= -points[i];
  }
  return polynomial;
}

std::string Sum(const std::vector<double>& factors, const std::vector<std::string>& from) {
  std::string text;
  for (size_t j = 0; j < factors.size(); ++j) {
    const double factor = factors[j];
    if (factor == 0 || from[j].empty()) continue;
    const double size = std::abs(factor);
    text += text.empty() ? (factor < 0 ? "-" : "") : factor < 0 ? " - " : " + ";
    text += size == 1 ? from[j] : fmt::format("{} * {}", Literal(size, DType::kF32), from[j]);
  }
  return text.empty() ? "vf32{}" : text;
}

// A row that is this one but for the signs of some elements, behind it; 0: none.
size_t MirrorOf(const WinogradTransforms::Matrix& matrix, size_t row) {
  for (size_t other = row + 1; other < matrix.size(); ++other) {
    bool mirror = true, equal = true;
    for (size_t j = 0; j < matrix[row].size(); ++j) {
      mirror &= std::abs(matrix[row][j]) == std::abs(matrix[other][j]);
      equal &= matrix[row][j] == matrix[other][j];
    }
    if (mirror && !equal) return other;
  }
  return 0;
}

// Whether a step to the next tap is a step to the next pixel, or back to the last.
bool OneApart(const WindowDigit& pixel, const WindowDigit& tap) {
  std::vector<int64_t> back = tap.strides;
  for (int64_t& stride : back) stride = -stride;
  return pixel.strides == tap.strides || pixel.strides == back;
}

}  // namespace

WinogradTransforms MakeWinogradTransforms(int tile, int taps) {
  const int size = tile + taps - 1;
  ATHANOR_CHECK(size == 4 || size == 6);
  const std::vector<double> points = size == 4 ? std::vector<double>{0, 1, -1} : std::vector<double>{0, 0.625, -0.625, 1.625, -1.625};
  WinogradTransforms t;
  t.output.assign(tile, std::vector<double>(size, 0));
  for (size_t p = 0; p < points.size(); ++p) {
    double scale = 1;
    for (size_t q = 0; q < points.size(); ++q) {
      if (q != p) scale *= points[p] - points[q];
    }
    std::vector<double> weights(taps), data = Product(points, p);
    for (int k = 0; k < taps; ++k) weights[k] = std::pow(points[p], k) / scale;
    data.push_back(0);
    t.weights.push_back(weights), t.data.push_back(data);
    for (int i = 0; i < tile; ++i) t.output[i][p] = std::pow(points[p], i);
  }
  // The point at infinity.
  std::vector<double> last(taps, 0);
  last.back() = 1;
  t.weights.push_back(last), t.data.push_back(Product(points, points.size()));
  t.output[tile - 1][size - 1] = 1;
  return t;
}

void WriteLinearMap(const WinogradTransforms::Matrix& matrix, const std::vector<std::string>& from, const std::vector<std::string>& to,
                    SourceWriter* out) {
  std::vector<bool> done(matrix.size(), false);
  for (size_t i = 0; i < matrix.size(); ++i) {
    if (done[i]) continue;
    const size_t mirror = MirrorOf(matrix, i);
    if (mirror == 0 || done[mirror]) {
      out->Line("const vf32 {} = {};", to[i], Sum(matrix[i], from));
      continue;
    }
    std::vector<double> same(from.size(), 0), other(from.size(), 0);
    for (size_t j = 0; j < from.size(); ++j) (matrix[i][j] == matrix[mirror][j] ? same : other)[j] = matrix[i][j];
    out->Line("const vf32 {0}_same = {1}, {0}_other = {2}, {0} = {0}_same + {0}_other, {3} = {0}_same - {0}_other;", to[i], Sum(same, from),
              Sum(other, from), to[mirror]);
    done[mirror] = true;
  }
}

std::optional<WinogradForm> WinogradForm::Of(const KernelPlan& plan) {
  const auto* contract = std::get_if<ContractPlan>(&plan.detail);
  if (contract == nullptr || contract->accumulator != DType::kF32 || contract->batch * contract->m * contract->n * contract->k == 0) {
    return std::nullopt;
  }
  if (StoresAlongRows(*contract) || !contract->a.stores.empty()) return std::nullopt;
  // Both operands as they lie in memory.
  const auto plain = [&](const Body& body, int result) -> const Operand* {
    const Expr& expr = body.exprs[result];
    if (expr.kind != Expr::Kind::kLoad || ValueType(expr.dtype) != DType::kF32) return nullptr;
    const Operand& operand = body.operands[expr.operand];
    return operand.row < 0 && operand.fill == 0 && operand.pieces.empty() && plan.args[operand.arg].dtype == expr.dtype ? &operand : nullptr;
  };
  WinogradForm form;
  form.weights = plain(contract->a, contract->a_result), form.data = plain(contract->b, contract->b_result);
  if (form.weights == nullptr || form.data == nullptr || !form.weights->bounds.empty() || form.data->bounds.size() > 2) return std::nullopt;
  const auto along = WindowDigits(*form.data, 2), across = WindowDigits(*form.data, 1), batch = WindowDigits(*form.data, 0);
  if (!along || !across || !batch || along->size() < 2 || along->size() > 3 || across->size() != 3) return std::nullopt;
  const WindowDigit &x = (*along)[0], &y = (*along)[1], &tap_x = (*across)[0], &tap_y = (*across)[1], &channel = (*across)[2];
  // Windows one pixel apart, of taps one pixel apart, forward or (the gradient of the input) backward.
  if (tap_x.extent != tap_y.extent || (tap_x.extent != 3 && tap_x.extent != 5)) return std::nullopt;
  if (x.strides[0] != 1 || !OneApart(x, tap_x) || !OneApart(y, tap_y)) return std::nullopt;
  form.taps = static_cast<int>(tap_x.extent);
  form.channels = channel.extent, form.rows = contract->m, form.channel_stride = channel.strides[0];
  form.offset = form.data->map.offset();
  form.x = {x.extent, 1, 0, x.extent + form.taps - 1};
  form.y = {y.extent, y.strides[0], 0, y.extent + form.taps - 1};
  if (along->size() == 3) form.images = (*along)[2].extent, form.image_stride = (*along)[2].strides[0];
  const bool backward_x = tap_x.strides != x.strides, backward_y = tap_y.strides != y.strides;
  for (const auto& [backward, stride] : {std::pair(backward_x, tap_x.strides[0]), std::pair(backward_y, tap_y.strides[0])}) {
    if (backward) form.offset += (form.taps - 1) * stride;
  }
  bool bounded[2] = {};
  for (size_t f = 1; f < x.strides.size(); ++f) {
    const Bound& bound = form.data->bounds[f - 1];
    const bool is_x = x.strides[f] == 1 && y.strides[f] == 0, is_y = x.strides[f] == 0 && y.strides[f] == 1;
    if (is_x == is_y || bounded[is_y] || channel.strides[f] != 0) return std::nullopt;
    if (along->size() == 3 && (*along)[2].strides[f] != 0) return std::nullopt;
    if (std::any_of(batch->begin(), batch->end(), [&](const WindowDigit& digit) { return digit.strides[f] != 0; })) return std::nullopt;
    Axis& axis = is_x ? form.x : form.y;
    axis.origin = bound.coordinate.offset() - ((is_x ? backward_x : backward_y) ? form.taps - 1 : 0), axis.extent = bound.extent;
    bounded[is_y] = true;
  }
  // The weights' taps and channels, as the windows have them.
  const Digits order = {{form.taps, 1}, {form.taps, int64_t{1} << 20}, {form.channels, int64_t{1} << 40}};
  const Digits& k = form.weights->map.dim(2);
  const auto radix = CommonRadix({k, order});
  if (!radix || *radix != std::vector<int64_t>{form.taps, form.taps, form.channels}) return std::nullopt;
  for (const Digit& digit : form.weights->map.dim(0)) {
    if (digit.extent > 1 && digit.stride != 0) return std::nullopt;
  }
  form.tap_x = Offset(k, 1), form.tap_y = Offset(k, form.taps), form.weight_channel = Offset(k, int64_t{form.taps} * form.taps);
  for (const auto& [backward, tap] : {std::pair(backward_x, &form.tap_x), std::pair(backward_y, &form.tap_y)}) {
    if (backward) form.first_tap += (form.taps - 1) * *tap, *tap = -*tap;
  }
  return form;
}

}  // namespace athanor
