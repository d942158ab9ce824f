#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "jit/body.h"
#include "jit/plan.h"
#include "jit/prelude.h"
#include "jit/source_writer.h"

namespace athanor {

// One digit of a dimension of an operand's index: its extent and the strides of the functions of the index. Function 0 is the address, 1 + i
// the coordinate of bound i.
struct WindowDigit {
  int64_t extent = 1;
  std::vector<int64_t> strides;
};
// Lowest digit first; nothing where the functions' digits do not nest.
std::optional<std::vector<WindowDigit>> WindowDigits(const Operand& operand, int dim);

// Copies one operand of a contraction whose access map has several digits along the vectors, or bounds: the windows of an implicit GEMM.
// Vectors run along rows of pixels (the lowest digit of `along`); a routine copies one such run. In it the taps (the lower digits of
// `across`) settle which lanes lie inside the tensor, once for all channels (the highest digit of `across`), which are the innermost loop.
class WindowCopier {
 public:
  // Nothing where the expression is no plain load, or where it needs no copier: one stride, or with `whole_vectors` runs that vectors
  // divide. `along`, `across`: dimensions of the body.
  static std::optional<WindowCopier> For(const Body& body, int result, int along, int across, bool whole_vectors,
                                         const std::vector<KernelArg>& args);

  // What the loops run over and where an element goes, as C++ text. Index names: `along_begin` <= i < `along_end`, the same across.
  struct Target {
    std::string along_begin, along_end, across_begin, across_end;
    // At the index `i` along (a name), the first of `across`: a pointer.
    std::string at;
    std::string step;                                        // elements from one index across to the next
    // Places from `i` to the end of what may be written (a panel, a row). Lanes past the data are written there, as zeros.
    std::string room;
    enum class Elements {
      kValues,
      kHalves,                                               // bf16 stays bf16: `at` is an unsigned short*
      kPairs                                                 // two indices across, the first one even, as one int (bf16): `at` is an int*, `step` from one pair to the next
    } elements = Elements::kValues;
  };
  void Write(const Target& target, Prelude* prelude, SourceWriter* out) const;

 private:
  using Elements = Target::Elements;
  // A routine that copies a run of pixels, and its name.
  std::string AddRoutine(Elements elements, Prelude* prelude) const;
  void WriteTaps(Elements elements, Prelude* prelude, SourceWriter* out) const;
  void WriteChannels(Elements elements, Prelude* prelude, SourceWriter* out) const;
  void WritePairs(Prelude* prelude, SourceWriter* out) const;
  std::string ElementType(Elements elements) const;
  int64_t Taps() const;
  std::pair<std::string, std::string> TapText() const;
  std::string LoadText(const std::string& x, const std::string& first, const std::string& last, Prelude* prelude) const;
  void WriteBounds(const std::string& first, const std::string& last, SourceWriter* out) const;

  const Operand* operand_ = nullptr;
  DType memory_ = DType::kF32, dtype_ = DType::kF32;         // as it is stored, and as it is computed with and copied
  int functions_ = 1;
  std::vector<WindowDigit> along_, across_;                        // lowest digit first
  std::vector<WindowDigit> batch_;
};

}  // namespace athanor
