#pragma once

#include <map>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "jit/body.h"
#include "jit/plan.h"
#include "jit/prelude.h"
#include "jit/sizes.h"
#include "jit/source_writer.h"

namespace athanor {

// Writes the expressions of a Body as C++ statements, for one scalar point of its iteration space or for one vector of points
// along one dimension. An expression that does not vary along the vector dimension is a scalar; every expression is written once
// in a scope, the first time it is asked for. A caller opens loops from the outside in, sets the indices it knows and hoists,
// so that each expression is computed in the outermost loop that knows its operands:
//
//   emitter.Push();  out.Open("for (long m = ...)");  emitter.SetIndex(1, "m");  emitter.Hoist(roots);
//   emitter.Push();  out.Open("for (long n = ...; n += 16)");  emitter.SetVector(2, "n", 16);  emitter.EmitStores();
//   ... Close, Pop, Close, Pop
//
// Arguments are addressed through pointers a0, a1, ... (DeclareArgs). Index expressions are C++ of type long and must bind
// tightly: an identifier, a number or in parentheses.
class BodyEmitter {
 public:
  struct Value {
    std::string text;  // a name or a literal
    bool vector = false;
  };

  // The referred objects outlive the emitter. `prefix` starts the names of the variables.
  BodyEmitter(const Body& body, const std::vector<KernelArg>& args, Prelude* prelude, SourceWriter* out,
              std::string prefix = "x");

  // Strides and offsets, but for those of lanes and of what has borders, are from now on arguments of a routine.
  void NameSizes(Sizes* sizes) { sizes_ = sizes; }

  // What follows (indices, names, the vector dimension) is forgotten at the matching Pop.
  void Push();
  void Pop();
  void SetIndex(int dim, std::string index);
  // Lane l is the index `index` + l of `dim`. `index` is a multiple of `multiple`; only the first `live` lanes exist (all if
  // empty): the others are computed from zeros and never stored.
  void SetVector(int dim, std::string index, int64_t multiple = 1, std::string live = "");
  // The value of a reduction or of the accumulator, computed by the caller.
  void Bind(int expr, std::string name, bool vector);

  Value Get(int expr);
  std::string Scalar(int expr);  // InternalError when it is a vector
  std::string Vector(int expr);  // splat when it is a scalar
  // Where an operand without `row` lies at the known indices, of a vector its first lane: "a3 + m * 64 + n".
  std::string Pointer(const Operand& operand);
  // Computes now whatever the roots need that varies along known indices only.
  void Hoist(std::span<const int> roots);
  // Writes only indices inside the store's range. Without `check` those of the last dimension are known to be.
  void EmitStore(const Store& store, bool check = true, bool streaming = false);
  void EmitStores(bool streaming = false);  // all of the body's

  const Body& body() const { return body_; }
  const std::vector<uint32_t>& varies() const { return varies_; }

 private:
  struct State {
    std::vector<std::string> index;  // by dimension; empty: unknown
    int vector_dim = -1;
    int64_t multiple = 1;
    std::string live;
    std::map<int, Value> values;
    std::map<int64_t, std::string> borders;                  // by extent: how many lanes lie in front of the next multiple of it
  };
  // Where the lanes of an operand are.
  struct Access {
    enum class Kind { kScalar, kUnit, kStrided, kLanes } kind = Kind::kScalar;
    std::string pointer;  // kLanes: of lane `l`
    int64_t stride = 0;
  };
  Access Address(const Operand& operand, int64_t begin = 0, int ranged = -1);  // `begin` counts along dimension `ranged`
  Access AddressOf(int arg, const Layout& map, bool by_lanes);
  Access PiecedAddress(const Operand& operand);
  bool WithinPiece(const Operand& operand) const;           // all lanes lie within one piece
  std::string Size(int64_t size) { return sizes_ != nullptr ? sizes_->Text(size) : std::to_string(size); }
  std::string OffsetText(const Digits& digits, const std::string& index);
  bool Uniform(const Digits& digits, int64_t begin) const;  // all lanes lie within digit 0
  std::string Lanes() const;                                // number of live lanes
  std::string LoadScalar(const std::string& pointer, DType dtype);
  // Lanes that are computed one by one are an array, as no instruction writes lane `l` of a register. Its name.
  std::string DeclareLanes(const std::string& name, DType dtype, std::string_view initial = "");
  // What is to be written to `memory` for lane `l` of `vector`.
  std::string StoreLanes(const std::string& name, const std::string& vector, DType memory);
  Value Load(const Expr& expr, int id);
  // The load of a whole vector whose elements lie in two places in turns, as the gradients of a convolution of stride 2 do. Empty where it is none.
  std::string ZippedText(const Operand& operand, DType memory);
  // A vector that runs over the end of a row at most once, as the pixels of all images do: two pointers and how many lanes belong to the first.
  struct Split {
    std::string first, second, border;
  };
  std::optional<Split> SplitOf(const Operand& operand);
  // Asks for the memory functions `unit`, of the words that bf16 and f16 are in memory; from and to such words.
  void UseWords(std::string_view unit, DType memory);
  std::string FromWords(const std::string& text, DType memory);
  std::string ToWords(const std::string& text, DType memory);
  Value BoundedLoad(const Expr& expr, int id, const Access& access);
  std::string Coordinate(const Layout& coordinate, bool lane);  // of lane 0, or of lane `l`
  Value Apply(const Expr& expr, int id);
  std::string ApplyText(const Expr& expr, const std::vector<Value>& args, bool vector);
  std::string CompareText(const Expr& expr, const std::vector<Value>& args, bool vector);
  std::string IndexCompareText(const Expr& expr);  // empty: not of that form
  std::string MathText(const Expr& expr, const std::vector<Value>& args, bool vector);
  std::string PowText(const Expr& expr, const std::vector<Value>& args, bool vector);
  std::string ViaDoubleText(const Expr& expr, const std::vector<Value>& args, bool vector);
  std::string ExtremeText(const Expr& expr, const std::vector<Value>& args, bool vector);
  std::string Convert(const std::string& text, DType from, DType to, bool vector);
  std::string Widen(const Value& value, DType dtype);  // to a vector
  std::string Define(int id, DType dtype, bool vector, const std::string& text);
  std::string NewName(int id);
  void StoreValue(const Store& store, const Access& access, bool streaming, bool from_start = false);  // from_start: of a range that begins at 0

  const Body& body_;
  const std::vector<KernelArg>& args_;
  Prelude* prelude_;
  SourceWriter* out_;
  std::string prefix_;
  Sizes* sizes_ = nullptr;
  std::vector<uint32_t> varies_;
  State state_;
  std::vector<State> saved_;
  std::map<std::string, int> used_names_;
};

// "const float* const a0 = (const float*)args[0];" for every arg that the block goes on to use.
void DeclareArgs(const std::vector<KernelArg>& args, SourceWriter* out);

// Lanes of a kernel that computes `body`: a register holds that many elements of its widest floating type (at least 4 bytes).
int LanesFor(const Body& body, const CpuTarget& cpu);

}  // namespace athanor
