#include "ops/attention_reference.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "ops/philox.h"

namespace athanor {
namespace {

constexpr double kInfinity = std::numeric_limits<double>::infinity();

// One row of scores: query `row` of [batch, heads, lq] and the keys [begin, end) that it may see.
struct Row {
  Row(const AttentionForm& form, const AttentionOperands& in, int64_t row)
      : index(row), query(row % form.lq), head(row / form.lq % form.heads), batch(row / form.lq / form.heads) {
    first_key = (batch * form.kv_heads + head / form.group()) * form.lk;
    if (!in.lengths.empty())
      end = std::clamp<int64_t>(static_cast<int64_t>(in.lengths[batch]), 0, form.lk);
    else
      end = form.lk;
    if (form.right >= 0) end = std::min(end, query + form.right + 1);
    if (form.left >= 0) begin = std::max<int64_t>(0, query - form.left);
    end = std::max(begin, end);
  }

  double Score(const AttentionForm& form, const AttentionOperands& in, int64_t key) const {
    double sum = 0;
    for (int64_t c = 0; c < form.d; ++c) sum += in.q[index * form.d + c] * in.k[(first_key + key) * form.d + c];
    return sum * form.scale + (in.mask.empty() ? 0 : in.mask[index * form.lk + key]);
  }

  double Dropout(const AttentionForm& form, const AttentionOperands& in, int64_t key) const {
    if (form.dropout_p == 0) return 1;
    const bool kept = DropoutKeeps(in.seed, in.offset, static_cast<uint32_t>(index), static_cast<uint32_t>(key), form.dropout_p);
    return kept ? DropoutFactor(form.dropout_p) : 0;
  }

  int64_t index, query, head, batch, first_key = 0;  // first_key: row of k and v
  int64_t begin = 0, end = 0;
};

}  // namespace

AttentionResult AttentionForward(const AttentionForm& form, const AttentionOperands& in) {
  const int64_t rows = form.batch * form.heads * form.lq;
  AttentionResult result{std::vector<double>(rows * form.dv), std::vector<double>(rows)};
  for (int64_t i = 0; i < rows; ++i) {
    const Row row(form, in, i);
    std::vector<double> p;
    double top = -kInfinity, sum = 0;
    for (int64_t j = row.begin; j < row.end; ++j) {
      p.push_back(row.Score(form, in, j));
      top = p.back() > top || std::isnan(p.back()) ? p.back() : top;
    }
    if (top != -kInfinity) {
      for (double& x : p) sum += x = std::exp(x - top);
      for (int64_t j = row.begin; j < row.end; ++j) {
        const double* v = in.v.data() + (row.first_key + j) * form.dv;
        const double weight = p[j - row.begin] / sum * row.Dropout(form, in, j);
        for (int64_t c = 0; c < form.dv; ++c) result.y[i * form.dv + c] += weight * v[c];
      }
    }
    result.lse[i] = top == -kInfinity ? top : top + std::log(sum);
  }
  return result;
}

AttentionGradients AttentionBackward(const AttentionForm& form, const AttentionOperands& in, const std::vector<double>& dy,
                                     const std::vector<double>& y, const std::vector<double>& lse) {
  AttentionGradients result{std::vector<double>(in.q.size()), std::vector<double>(in.k.size()), std::vector<double>(in.v.size()),
                            std::vector<double>(form.batch * form.heads * form.lq * form.lk)};
  auto& [dq, dk, dv, dmask] = result;
  for (int64_t i = 0; i < form.batch * form.heads * form.lq; ++i) {
    const Row row(form, in, i);
    double delta = 0;
    for (int64_t c = 0; c < form.dv; ++c) delta += dy[i * form.dv + c] * y[i * form.dv + c];
    for (int64_t j = row.begin; j < row.end && lse[i] != -kInfinity; ++j) {
      const int64_t key = row.first_key + j;
      const double p = std::exp(row.Score(form, in, j) - lse[i]), dropout = row.Dropout(form, in, j);
      double dp = 0;
      for (int64_t c = 0; c < form.dv; ++c) {
        dp += dy[i * form.dv + c] * in.v[key * form.dv + c];
        dv[key * form.dv + c] += p * dropout * dy[i * form.dv + c];
      }
      const double ds = dmask[i * form.lk + j] = p * (dropout * dp - delta);
      for (int64_t c = 0; c < form.d; ++c) {
        dq[i * form.d + c] += form.scale * ds * in.k[key * form.d + c];
        dk[key * form.d + c] += form.scale * ds * in.q[i * form.d + c];
      }
    }
  }
  return result;
}

}  // namespace athanor
