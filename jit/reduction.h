#pragma once

#include <cstdint>
#include <optional>

#include "jit/views.h"
#include "ops/graph.h"
#include "ops/layout.h"

namespace athanor {

// A reduction node seen as a matrix of kept by reduced elements.
struct Reduction {
  enum class Form : uint8_t {
    kTrailing,   // the last dimensions are reduced: a row statistic
    kLeading,    // the first dimensions are reduced: column sums
    kAll,        // everything is reduced
    kMixed,      // any other choice of dimensions
  };
  Form form = Form::kMixed;
  int64_t kept = 1, reduced = 1;                             // elements
  Layout kept_map;                                           // the result's index space -> flat index of the input, at reduced index 0
  Digits reduced_digits;                                     // flat reduced index -> flat index of the input
};

Reduction ReductionOf(const Graph& graph, const Node& node);

// The map [kept, reduced] -> address, for an input seen through `input`. Nothing when it is not separable.
std::optional<Layout> KeptByReduced(const Reduction& reduction, const Layout& input);

// Equal as functions, dimension by dimension.
bool SameMap(const Layout& a, const Layout& b);

// For a layout that maps some index space one to one onto columns [begin, end) of all rows of a rows x columns matrix, or onto all columns
// of rows [begin, end): the inverse, from [row, column - begin] or [row - begin, column] to flat indices of that space.
struct RangeInverse {
  bool of_rows = false;
  int64_t begin = 0, end = 0;
  Digits row, column;
};
std::optional<RangeInverse> InvertRange(const Layout& layout, int64_t rows, int64_t columns);

// Where A, the transpose of a concatenation of columns, has the part that a sum folds: `summed` is KeptByReduced of the sum's input.
// Nothing when `input` is no such part.
struct RowsOfA {
  int64_t begin = 0, end = 0;
};
std::optional<RowsOfA> PartOfRows(const Graph& graph, const std::vector<ViewOf>& views, ValueId a, ValueId input,
                                  const std::optional<Layout>& summed);

}  // namespace athanor
