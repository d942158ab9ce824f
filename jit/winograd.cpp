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
    if (factor == 0) continue;
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

// Whether an index with these extents (lowest first) has one stride for each.
bool Nests(const Digits& digits, const std::vector<int64_t>& extents) {
  Digits order;
  for (size_t i = 0; i < extents.size(); ++i) {
    if (extents[i] > 1) order.push_back({extents[i], int64_t{1} << 20 * order.size()});
  }
  const auto radix = CommonRadix({digits, order});
  return radix && radix->size() == order.size() && std::equal(radix->begin(), radix->end(), order.begin(), [](int64_t e, const Digit& d) { return e == d.extent; });
}

// Whether columns j and j + 1 differ in signs alone, and do: points +p and -p.
bool Mirrored(const WinogradTransforms::Matrix& matrix, size_t j) {
  size_t used = 0, opposite = 0;
  for (const std::vector<double>& row : matrix) {
    if (std::abs(row[j]) != std::abs(row[j + 1])) return false;
    used += row[j] != 0, opposite += row[j] != row[j + 1];
  }
  return opposite > 0 && used > 2;
}

}  // namespace

WinogradTransforms MakeWinogradTransforms(int tile, int taps) {
  const int size = tile + taps - 1;
  ATHANOR_CHECK(size == 4 || size == 6 || size == 8);
  const std::vector<double> points = size == 4   ? std::vector<double>{0, 1, -1}
                                     : size == 6 ? std::vector<double>{0, 0.625, -0.625, 1.625, -1.625}
                                                 : std::vector<double>{0, 0.5, -0.5, 1, -1, 2, -2};
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
  for (size_t j = 0; j + 1 < from.size(); ++j) {
    if (!Mirrored(matrix, j)) continue;
    // Their sum and their difference instead: each row needs one of them.
    WinogradTransforms::Matrix rest = matrix;
    for (std::vector<double>& row : rest) (row[j] == row[j + 1] ? row[j + 1] : row[j]) = 0;
    for (std::vector<double>& row : rest) row[j + 1] = row[j] == 0 ? -row[j + 1] : row[j + 1];
    std::vector<std::string> folded = from;
    folded[j] = from[j] + "_sum", folded[j + 1] = from[j] + "_difference";
    out->Line("const vf32 {} = {} + {}, {} = {} - {};", folded[j], from[j], from[j + 1], folded[j + 1], from[j], from[j + 1]);
    return WriteLinearMap(rest, folded, to, out);
  }
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

// Windows one pixel apart, of taps one pixel apart, forward or (the gradient of the input) backward. Dimension 1 of the operand's index are
// channels and taps, dimension 2 pixels.
bool WinogradForm::ReadWindows(const Operand& operand) {
  data = &operand;
  if (operand.bounds.size() > 2) return false;
  const auto along = WindowDigits(operand, 2), across = WindowDigits(operand, 1), batch = WindowDigits(operand, 0);
  if (!along || !across || !batch || along->size() < 2 || along->size() > 3 || across->size() != 3) return false;
  const WindowDigit &column = (*along)[0], &row = (*along)[1], &right = (*across)[0], &down = (*across)[1], &channel = (*across)[2];
  if (right.extent != down.extent || (right.extent != 3 && right.extent != 5)) return false;
  if (column.strides[0] != 1 || !OneApart(column, right) || !OneApart(row, down)) return false;
  taps = static_cast<int>(right.extent);
  channels = channel.extent, channel_stride = channel.strides[0];
  offset = operand.map.offset();
  x = {column.extent, 1, 0, column.extent + taps - 1};
  y = {row.extent, row.strides[0], 0, row.extent + taps - 1};
  if (along->size() == 3) images = (*along)[2].extent, image_stride = (*along)[2].strides[0];
  const bool backward_x = right.strides != column.strides, backward_y = down.strides != row.strides;
  if (backward_x) offset += (taps - 1) * right.strides[0];
  if (backward_y) offset += (taps - 1) * down.strides[0];
  bool bounded[2] = {};
  for (size_t f = 1; f < column.strides.size(); ++f) {
    const Bound& bound = operand.bounds[f - 1];
    const bool is_x = column.strides[f] == 1 && row.strides[f] == 0, is_y = column.strides[f] == 0 && row.strides[f] == 1;
    if (is_x == is_y || bounded[is_y] || channel.strides[f] != 0) return false;
    if (along->size() == 3 && (*along)[2].strides[f] != 0) return false;
    if (std::any_of(batch->begin(), batch->end(), [&](const WindowDigit& digit) { return digit.strides[f] != 0; })) return false;
    Axis& axis = is_x ? x : y;
    axis.origin = bound.coordinate.offset() - ((is_x ? backward_x : backward_y) ? taps - 1 : 0), axis.extent = bound.extent;
    bounded[is_y] = true;
  }
  backward_ = {backward_x, backward_y};
  return true;
}

// Their taps and channels are in the windows' order, which may be backward.
bool WinogradForm::ReadWeights() {
  const Digits& k = other->map.dim(2);
  if (!Nests(k, {taps, taps, channels})) return false;
  for (const Digit& digit : other->map.dim(0)) {
    if (digit.extent > 1 && digit.stride != 0) return false;
  }
  tap_x = Offset(k, 1), tap_y = Offset(k, taps), weight_channel = Offset(k, int64_t{taps} * taps);
  if (backward_.first) first_tap += (taps - 1) * tap_x, tap_x = -tap_x;
  if (backward_.second) first_tap += (taps - 1) * tap_y, tap_y = -tap_y;
  return true;
}

bool WinogradForm::ReadPixelGradient() {
  const Digits& k = other->map.dim(1);
  if (backward_.first || backward_.second || !Nests(k, {x.out, y.out, images}) || Offset(k, 1) != 1) return false;
  gradient_row = Offset(k, x.out), gradient_image = images == 1 ? 0 : Offset(k, x.out * y.out);
  return true;
}

std::optional<WinogradForm> WinogradForm::Of(const KernelPlan& plan) {
  const auto* contract = std::get_if<ContractPlan>(&plan.detail);
  if (contract == nullptr || contract->accumulator != DType::kF32 || contract->batch * contract->m * contract->n * contract->k == 0) {
    return std::nullopt;
  }
  // Both operands as they lie in memory.
  const auto plain = [&](const Body& body, int result) -> const Operand* {
    const Expr& expr = body.exprs[result];
    if (expr.kind != Expr::Kind::kLoad || ValueType(expr.dtype) != DType::kF32 || !body.stores.empty()) return nullptr;
    const Operand& operand = body.operands[expr.operand];
    return operand.row < 0 && operand.fill == 0 && operand.pieces.empty() && plan.args[operand.arg].dtype == expr.dtype ? &operand : nullptr;
  };
  const Operand *a = plain(contract->a, contract->a_result), *b = plain(contract->b, contract->b_result);
  if (a == nullptr || b == nullptr) return std::nullopt;
  WinogradForm form;
  if (a->bounds.empty() && !StoresAlongRows(*contract) && form.ReadWindows(*b)) {
    form.other = a, form.out_channels = contract->m;
    if (form.ReadWeights()) return form;
  }
  form = WinogradForm();
  if (b->bounds.empty() && contract->batch == 1 && form.ReadWindows(*a)) {
    form.gradient = true, form.other = b, form.out_channels = contract->n;
    if (form.ReadPixelGradient()) return form;
  }
  return std::nullopt;
}

}  // namespace athanor
