#pragma once

#include <gtest/gtest.h>

#include <cmath>
#include <random>
#include <vector>

#include "ops/graph.h"
#include "ops/host_tensor.h"
#include "ops/op.h"
#include "ops/reference.h"
#include "runtime/executable.h"
#include "runtime/index_check.h"
#include "runtime/placed_inputs.h"

namespace athanor {

// Random inputs: normal floats, indices within the range of their uses.
inline std::vector<HostTensor> RandomInputs(const Graph& graph, uint32_t seed) {
  std::mt19937 random(seed);
  std::normal_distribution<double> normal;
  std::vector<int64_t> extents(graph.inputs().size(), 3);
  for (const IndexUse& use : FindIndexUses(graph)) extents[use.input] = use.extent;
  std::vector<HostTensor> inputs;
  for (size_t i = 0; i < graph.inputs().size(); ++i) {
    const TensorDesc& desc = graph.desc(graph.inputs()[i]);
    const double scale = desc.rank() == 2 && desc.shape[1] > 0 ? 1 / std::sqrt(static_cast<double>(desc.shape[1])) : 1;
    HostTensor tensor(desc.dtype, desc.shape);
    for (int64_t e = 0; e < tensor.elements(); ++e) {
      tensor.Set(e, IsFloat(desc.dtype) ? scale * normal(random) : static_cast<double>(random() % std::max<int64_t>(extents[i], 1)));
    }
    inputs.push_back(std::move(tensor));
  }
  return inputs;
}

// Runs the executable on dense inputs, spread where the graph's input has strides. `in_place`: as it was compiled.
inline std::vector<HostTensor> RunExecutable(Executable& executable, const Graph& graph, std::vector<HostTensor> inputs,
                                             const std::vector<InPlace>& in_place = {}) {
  const PlacedInputs placed(graph, inputs);
  std::vector<HostTensor> outputs;
  std::vector<void*> out;
  for (const NamedValue& output : graph.outputs()) {
    outputs.emplace_back(graph.desc(output.value).dtype, graph.desc(output.value).shape);
    for (int64_t e = 0; e < outputs.back().elements(); ++e) outputs.back().Set(e, 7);  // whatever is not written shows
  }
  for (HostTensor& tensor : outputs) out.push_back(tensor.data());
  std::vector<std::pair<size_t, size_t>> shared;             // output, input
  for (const InPlace& pair : in_place) {
    size_t output = 0, input = 0;
    while (graph.outputs()[output].name != pair.output) ++output;
    while (graph.value(graph.inputs()[input]).name != pair.input) ++input;
    out[output] = inputs[input].data();
    shared.emplace_back(output, input);
  }
  executable.Run(placed.pointers(), out);
  for (const auto& [output, input] : shared) outputs[output] = inputs[input];
  return outputs;
}

inline double Tolerance(DType dtype) { return dtype == DType::kF64 ? 1e-11 : 3e-5; }

inline void ExpectEqualsReference(const Graph& graph, const Options& options, uint32_t seed) {
  const std::vector<HostTensor> inputs = RandomInputs(graph, seed);
  const std::vector<HostTensor> expected = Interpret(graph, inputs);
  const std::unique_ptr<Executable> executable = Executable::Compile(graph, options);
  const std::vector<HostTensor> actual = RunExecutable(*executable, graph, inputs);
  for (size_t i = 0; i < expected.size(); ++i) {
    const std::string& name = graph.outputs()[i].name;
    EXPECT_LE(RelativeError(expected[i], actual[i]), Tolerance(expected[i].desc().dtype)) << graph.name() << ": " << name;
  }
}

}  // namespace athanor
