#pragma once

#include <functional>
#include <map>
#include <string>
#include <vector>

#include "jit/cuda_emitter.h"

namespace athanor {

// What one thread does at `lanes` neighbouring points along `dim`, the first of which has the index `index`.
struct CudaPoint {
  int dim = 0;
  int lanes = 1;
  std::string index;                                         // binds tightly
  std::vector<const Store*> stores;
  std::vector<int> roots;                                    // further expressions that `compute` asks for
  // Expressions that live on in arrays between passes, each with the name of its element, a Vec: written here, or read here.
  std::map<int, std::string> saves, loads;
};

// `compute` is called where the expressions at one of the points may be asked for, before the stores.
void WriteCudaPoint(const CudaPoint& point, const Body& body, const std::vector<KernelArg>& args, CudaEmitter* emitter, SourceWriter* out,
                    const std::function<void()>& compute = [] {});

// Whether the array element of a saved load is the Vec in memory as it is, not converted yet.
bool IsRawSave(const Body& body, const CudaEmitter& emitter, int expr, int dim, int lanes);

// The loads that vary along `dim` which the roots need, but for what lies behind the expressions in `known`.
std::vector<int> LoadsAlong(const Body& body, const CudaEmitter& emitter, const std::vector<int>& roots, int dim, const std::map<int, std::string>& known);

}  // namespace athanor
