#pragma once

#include <map>
#include <set>
#include <span>
#include <string>
#include <vector>

#include "jit/body.h"
#include "jit/plan.h"
#include "jit/source_writer.h"

namespace athanor {

// Writes the expressions of a Body as CUDA statements for one point of its iteration space, as BodyEmitter does in C++. A thread
// computes `lanes` neighbouring points along one dimension: it reads and writes them as one Vec where the access allows it, and
// computes them in an unrolled loop over l.
class CudaEmitter {
 public:
  CudaEmitter(const Body& body, const std::vector<KernelArg>& args, SourceWriter* out);

  // What follows (indices, names) is forgotten at the matching Pop.
  void Push();
  void Pop();
  void SetIndex(int dim, std::string index) { state_.index[dim] = std::move(index); }
  void Bind(int expr, std::string name) { state_.values[expr] = std::move(name); }
  bool IsBound(int expr) const { return state_.values.contains(expr); }
  // Binds a load to the element in memory that `text` reads.
  void BindElement(int expr, const std::string& text);

  std::string Get(int expr);                                 // the name of a constant, which is defined on demand, or a literal
  void Hoist(std::span<const int> roots);                    // computes now whatever the roots need that varies along known indices only
  void EmitStore(const Store& store);
  std::string Inside(const Operand& operand) const;          // the condition of its bounds; empty without
  std::string Pointer(const Operand& operand, int64_t begin = 0);
  std::string PiecedPointer(const Operand& operand);
  std::string Element(const Store& store);                   // the store's value in its form in memory

  // The largest number of lanes, up to 16 bytes of the widest element, that every unit-stride access along `dim` takes in one
  // piece, as far as the other dimensions go.
  int LanesAlong(int dim) const;
  // Whether the operand's `lanes` neighbours along `dim` are one aligned Vec wherever the first one's index is a multiple of `lanes`.
  bool IsVec(const Operand& operand, int dim, int lanes, int64_t begin = 0) const;

  const char* index_type() const { return wide_ ? "long" : "int"; }
  const std::vector<uint32_t>& varies() const { return varies_; }
  const std::set<std::string>& helpers() const { return helpers_; }
  void Use(const std::string& helper) { helpers_.insert(helper); }
  std::string Larger(const std::string& a, const std::string& b, DType dtype);  // NaN if either is

 private:
  struct State {
    std::vector<std::string> index;                          // by dimension; empty: unknown
    std::map<int, std::string> values;
  };
  std::string OffsetText(const Digits& digits, const std::string& index) const;
  std::string Define(int id, const std::string& text);
  std::string FromMemory(const std::string& text, DType memory, DType dtype);
  std::string Convert(const std::string& text, DType from, DType to) const;
  std::string ApplyText(const Expr& expr);
  std::string MathText(Fn fn, DType type, const std::string& a, const std::string& b);
  std::string PowText(const Expr& expr, const std::string& a, const std::string& b);

  const Body& body_;
  const std::vector<KernelArg>& args_;
  SourceWriter* out_;
  std::vector<uint32_t> varies_;
  bool wide_ = false;                                        // indices or addresses exceed 32 bits
  State state_;
  std::vector<State> saved_;
  std::map<int, int> used_names_;
  std::set<std::string> helpers_;
};

// Definitions of the helpers in `used` and what they need.
std::string CudaHelpers(std::set<std::string> used);
// Like Literal and LowestLiteral, without what NVRTC lacks.
std::string CudaLiteral(double value, DType dtype);
std::string CudaLowest(DType dtype);
// "const float* const a0 = (const float*)arguments.pointers[0];" for every arg.
void DeclareCudaArgs(const std::vector<KernelArg>& args, SourceWriter* out);
std::string VecType(DType dtype, int lanes, bool in_memory);

}  // namespace athanor
