#include <span>
#include <string>

#include "jit/prelude_units.h"

// Copies of blocks whose sizes and strides, in elements, are known when they are called: one function for all kernels.
// The copies read whole vectors of `from`, behind the last column, too.
namespace athanor {
namespace {

const char kCopyRows[] = R"(ROUTINE void copy_rows_$TAG(const $T* from, long from_row, $T* to, long to_row, long rows, long columns) {
  for (long i = 0; i < rows; ++i, from += from_row, to += to_row) {
    long j = 0;
    for (; j + $N <= columns; j += $N) store(to + j, load(from + j));
    if (j < columns) store_tail(to + j, load(from + j), columns - j);
  }
}
)";

const char kCopySquares[] = R"(// Columns become rows.
ROUTINE void copy_squares_$TAG(const $T* from, long from_row, $T* to, long to_row, long rows, long columns) {
  for (long j = 0; j < columns; j += $N) {
    const long width = smaller(columns - j, $N);
    long i = 0;
    for (; i + $N <= rows; i += $N) {
      $V r[$N];
      const $T* x = from + i * from_row + j;
#pragma clang loop unroll(full)
      for (int l = 0; l < $N; ++l, x += from_row) r[l] = load(x);
      transpose(r);
      $T* y = to + j * to_row + i;
      if (width == $N) {
#pragma clang loop unroll(full)
        for (int l = 0; l < $N; ++l, y += to_row) store(y, r[l]);
      } else {
        for (int l = 0; l < width; ++l, y += to_row) store(y, r[l]);
      }
    }
    if (i < rows) {
      $V r[$N] = {};
      for (int l = 0; l < rows - i; ++l) r[l] = load(from + (i + l) * from_row + j);
      transpose(r);
      for (int l = 0; l < width; ++l) store_tail(to + (j + l) * to_row + i, r[l], rows - i);
    }
  }
}
)";

const char kPackRows[] = R"(// In panels of columns, rows one behind the other; zeros fill the last vector.
ROUTINE void pack_rows_$TAG(const $T* from, long row, long rows, long columns, $T* to, long panel, long panel_stride) {
  for (long i = 0; i < rows; ++i, from += row, to += panel) {
    const $T *x = from, *ahead = from + 8 * row;
    $T* y = to;
    long left = columns;
    for (; left >= panel; left -= panel, y += panel_stride) {
      for (long j = 0; j < panel; j += $N, x += $N, ahead += $N) {
        __builtin_prefetch(ahead);
        store(y + j, load(x));
      }
    }
    for (; left >= $N; left -= $N, x += $N, y += $N) store(y, load(x));
    if (left > 0) store(y, load_tail(x, left));
  }
}
)";

const char kPackSquares[] = R"(// Columns become rows, in panels: one behind the other, as many as `panel` rows of `from` wide; zeros fill the last vector.
ROUTINE void pack_squares_$TAG(const $T* from, long row, long rows, long columns, $T* to, long panel, long panel_stride) {
  for (long i = 0; i < rows; i += $N, from += $N * row) {
    $T* y = to + i / panel * panel_stride + i % panel;
    const long height = smaller(rows - i, $N);
    long j = 0;
    if (height == $N) {
      for (; j + $N <= columns; j += $N) {
        $V r[$N];
        const $T* x = from + j;
#pragma clang loop unroll(full)
        for (int l = 0; l < $N; ++l, x += row) {
          __builtin_prefetch(x + $AHEAD);
          r[l] = load(x);
        }
        transpose(r);
#pragma clang loop unroll(full)
        for (int l = 0; l < $N; ++l, y += panel) store(y, r[l]);
      }
    }
    for (; j < columns; j += $N) {
      const long width = smaller(columns - j, $N);
      $V r[$N] = {};
      for (int l = 0; l < height; ++l) r[l] = load_tail(from + l * row + j, width);
      transpose(r);
      for (int l = 0; l < width; ++l, y += panel) store(y, r[l]);
    }
  }
}
)";

const char kAddParts[] = R"(// The sum of `parts` rows of `columns`, in order.
ROUTINE void add_parts_$TAG(const $T* from, long parts, long stride, $T* to, long columns) {
  for (long j = 0; j < columns; j += $N, from += $N, to += $N) {
    const long left = columns - j;
    $V sum = left >= $N ? load(from) : load_tail(from, left);
    for (long p = 1; p < parts; ++p) sum += left >= $N ? load(from + p * stride) : load_tail(from + p * stride, left);
    if (left >= $N) store(to, sum); else store_tail(to, sum, left);
  }
}
)";

const char kMultiply[] = R"(// Rows by columns of C in tiles of `mr` rows and a panel of columns, each by a micro-kernel; the last rows and columns have their own. Rows i of A begin
// at i / a_rows * a_panel + i % a_rows, and each tile asks for `share` elements of each of the rows that follow its own, `ahead` from row to row.
ROUTINE void multiply_$TAG(const $T* a, long a_rows, long a_panel, long ahead, long share, long rows, long mr,
                           const $T* b, long b_panel, long columns, long panel, $T* c, long c_row, long k, long first,
                           void (*tile)(const $T*, const $T*, $T*, long, long), void (*tile_n)(const $T*, const $T*, $T*, long, long),
                           void (*tile_m)(const $T*, const $T*, $T*, long, long), void (*tile_m_n)(const $T*, const $T*, $T*, long, long)) {
  for (long i = 0; i < rows; i += mr, c += mr * c_row) {
    const bool whole = rows - i >= mr;
    const $T *x = a + i / a_rows * a_panel + i % a_rows, *y = b, *next = x + mr * ahead;
    $T* z = c;
    for (long left = columns; left > 0; left -= panel, y += b_panel, z += panel, next += share) {
      if (share > 0) {
        for (long j = 0; j < mr; ++j) {
          for (long p = 0; p < share; p += $LINE) __builtin_prefetch(next + j * ahead + p);
        }
      }
      if (left >= panel) (whole ? tile : tile_m)(x, y, z, k, first); else (whole ? tile_n : tile_m_n)(x, y, z, k, first);
    }
  }
}
)";

const char kFetchRows[] = R"(// Asks for rows of so many bytes, `row` from one to the next.
ROUTINE void fetch_rows(const void* from, long row, long rows, long bytes) {
  const char* x = (const char*)from;
  for (long i = 0; i < rows; ++i, x += row) {
    for (long at = 0; at < bytes; at += 64) __builtin_prefetch(x + at, 0, 2);
  }
}
)";

}  // namespace

void AppendRoutineUnits(int lanes, std::vector<PreludeUnit>* units) {
  units->push_back({"routine", {}, "#define ROUTINE static __attribute__((noinline))\n"});
  units->push_back({"fetch_rows", {"routine"}, kFetchRows});
  for (const ElementType& type : std::span(kElementTypes).first(3)) {  // f32, f64 and i32, pairs of bf16
    const std::string tag = type.tag, load = "load." + tag, store = "store." + tag, tail = "tail." + tag, transpose = "transpose." + tag;
    const auto add = [&](const char* name, std::vector<std::string> needs, const char* text) {
      needs.push_back("routine");
      units->push_back({name + tag, std::move(needs),
                        Substitute(text, {{"$TAG", tag}, {"$T", type.scalar}, {"$V", "v" + tag}, {"$N", std::to_string(lanes)}, {"$AHEAD", std::to_string(8 * lanes)},
                                          {"$LINE", std::to_string(64 / type.bytes)}})});
    };
    add("copy_rows.", {load, store, tail}, kCopyRows);
    add("copy_squares.", {load, store, tail, transpose, "bounds"}, kCopySquares);
    add("pack_rows.", {load, store, tail}, kPackRows);
    add("pack_squares.", {load, store, tail, transpose, "bounds"}, kPackSquares);
    add("add_parts.", {load, store, tail}, kAddParts);
    add("multiply.", {}, kMultiply);
  }
}

}  // namespace athanor
