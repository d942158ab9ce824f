// A stranger's program: one product, compiled and run.
#include <cstdio>
#include <vector>

#include "ops/graph.h"
#include "runtime/executable.h"

int main() {
  athanor::Graph graph("consumer");
  const auto a = graph.AddInput("a", {athanor::DType::kF32, {2, 3}}), b = graph.AddInput("b", {athanor::DType::kF32, {3, 2}});
  graph.AddOutput("c", graph.Add1("matmul", {a, b}));
  const auto executable = athanor::Executable::Compile(graph, athanor::Options());
  const std::vector<float> x = {1, 2, 3, 4, 5, 6}, y = {1, 0, 0, 1, 1, 1};
  float c[4] = {};
  const void* inputs[] = {x.data(), y.data()};
  void* outputs[] = {c};
  executable->Run(inputs, outputs);
  const bool right = c[0] == 4 && c[1] == 5 && c[2] == 10 && c[3] == 11;
  std::puts(right ? "right" : "wrong");
  return right ? 0 : 1;
}
