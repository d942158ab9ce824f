#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "jit/body.h"

namespace athanor {

// Bits of a row loop's two dimensions in Expr::axes and Body::Varies.
inline constexpr uint32_t kRows = 1, kCols = 2;

// sum over columns j of (j == column ? value : 0): the value at one column.
struct Pick {
  int column = -1, value = -1;  // expressions
};

// What is done in one pass over a row. A reduction, store or column sum belongs to the first pass in which all it needs is known.
struct Pass {
  std::vector<int> reductions;    // expressions: row statistics completed by this pass
  std::vector<int> stores;        // indices in Body::stores, of values along the row
  std::vector<int> column_sums;   // expressions with axes == kRows
  std::vector<int> row_stores;    // stores of values known before the pass, one a row
  std::vector<int> picks;         // reductions that are Picks, computed before the pass
  std::vector<int> saves, loads;  // expensive expressions kept in scratch by this pass, taken from there
  bool prefetches = false;        // the next row, while this one is computed on
};

// Which values along the row, needed by more than one pass, are kept from the first on.
enum class Keep : uint8_t {
  kNothing,            // all are computed again
  kExpensive,          // those that take long to compute
  kExpensiveAndLoads,  // also what is read from another place for every row
};

// Distributes the work of a row loop (extents [rows, cols], see LoopPlan) over as few passes as its dependencies allow.
class PassPlan {
 public:
  // `with_picks`: sums that are Picks may be computed as such. The referred objects outlive the plan. InternalError on a body
  // that no row loop computes.
  PassPlan(const Body& body, const std::vector<uint32_t>& varies, bool with_picks, Keep keep = Keep::kExpensive);

  const std::vector<Pass>& passes() const { return passes_; }
  const std::vector<int>& column_sums() const { return column_sums_; }  // of all passes, ascending
  // The expressions that a pass computes itself: its stores', and the arguments of its reductions and column sums.
  std::vector<int> Roots(const Pass& pass) const;
  const std::optional<Pick>& pick(int expr) const { return picks_[expr]; }

 private:
  void FindStages();
  void FindWork();
  void FindSaves();
  void ChoosePrefetch();
  std::vector<char> Needed() const;
  bool IsKept(int expr) const;

  const Body& body_;
  const std::vector<uint32_t>& varies_;
  const Keep keep_;
  std::vector<Pass> passes_;
  std::vector<int> column_sums_;
  std::vector<std::optional<Pick>> picks_;  // by expression
  std::vector<int> stage_;                  // by expression: passes that must be complete before it can be computed
};

// Whether neighbouring lanes (or threads) take neighbouring rows rather than columns: the data lies that way round, and there are
// no column sums.
bool LanesOnRows(const Body& body);

}  // namespace athanor
