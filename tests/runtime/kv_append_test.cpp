// kv_append into a cache of its own and into the caller's.
#include <gmock/gmock.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cstring>
#include <functional>
#include <iterator>

#include "ops/error.h"
#include "ops/gradient.h"
#include "tests/runtime/comparison.h"

namespace athanor {
namespace {

using testing::HasSubstr;
using Ints = std::vector<int64_t>;

struct Form {
  int64_t batch = 2, heads = 3, size = 9, length = 2, width = 17;
  DType dtype = DType::kF32, lengths_dtype = DType::kI64;
  bool one_length = false;
  Ints lengths = {0, 7};

  Shape cache() const { return {batch, heads, size, width}; }
  Shape entries() const { return {batch, heads, length, width}; }
};

// "new" is "cache" with "entries"; `rest` adds what else is computed.
using Rest = std::function<void(Graph&, ValueId cache, ValueId appended)>;

Graph Append(const Form& f, const Rest& rest = {}) {
  Graph graph("append");
  const ValueId cache = graph.AddInput("cache", {f.dtype, f.cache()}), entries = graph.AddInput("entries", {f.dtype, f.entries()});
  const ValueId lengths = graph.AddInput("lengths", {f.lengths_dtype, f.one_length ? Shape{} : Shape{f.batch}});
  const ValueId appended = graph.Add1("kv_append", {cache, entries, lengths});
  graph.AddOutput("new", appended);
  if (rest) rest(graph, cache, appended);
  return graph;
}

std::vector<HostTensor> Inputs(const Graph& graph, const Form& f) {
  std::vector<HostTensor> inputs = RandomInputs(graph, 5);
  for (int64_t b = 0; b < inputs[2].elements(); ++b) inputs[2].Set(b, static_cast<double>(f.lengths[b]));
  return inputs;
}

// Like RunExecutable, with the first output in the memory of the first input.
std::vector<HostTensor> RunInPlace(Executable& executable, const Graph& graph, std::vector<HostTensor> inputs) {
  std::vector<const void*> in;
  for (const HostTensor& input : inputs) in.push_back(input.data());
  std::vector<HostTensor> outputs;
  for (const NamedValue& output : graph.outputs()) outputs.emplace_back(graph.desc(output.value).dtype, graph.desc(output.value).shape);
  std::vector<void*> out;
  for (HostTensor& output : outputs) out.push_back(output.data());
  out[0] = inputs[0].data();
  executable.Run(in, out);
  outputs[0] = std::move(inputs[0]);
  return outputs;
}

bool SameBytes(const HostTensor& a, const HostTensor& b) {
  return a.desc() == b.desc() && std::memcmp(a.data(), b.data(), a.elements() * SizeOf(a.desc().dtype)) == 0;
}

// The copying and the updating form give the interpreter's bits in "new", and its values elsewhere.
void ExpectSame(const Graph& graph, const Form& form, int threads = 2) {
  SCOPED_TRACE(ToString(TensorDesc{form.dtype, form.cache()}));
  Options options;
  options.threads = threads;
  const std::vector<HostTensor> inputs = Inputs(graph, form), expected = Interpret(graph, inputs);
  const std::vector<HostTensor> results[] = {RunExecutable(*Executable::Compile(graph, options), graph, inputs),
                                             RunInPlace(*Executable::Compile(graph, options, {{"new", "cache"}}), graph, inputs)};
  for (const std::vector<HostTensor>& actual : results) {
    EXPECT_TRUE(SameBytes(expected[0], actual[0])) << (&actual == &results[0] ? "copying" : "in place");
    for (size_t i = 1; i < expected.size(); ++i) {
      EXPECT_LE(RelativeError(expected[i], actual[i]), Tolerance(expected[i].desc().dtype)) << graph.outputs()[i].name;
    }
  }
}

ValueId Attention(Graph& graph, ValueId cache) {
  Shape shape = graph.desc(cache).shape;
  shape[2] = 1;
  const ValueId q = graph.AddInput("q", {graph.desc(cache).dtype, shape});
  return graph.Add1("scaled_dot_product_attention", {q, cache, cache});
}

TEST(KvAppend, EmptyPartlyFilledAndFullCaches) {
  for (DType dtype : {DType::kF32, DType::kF64, DType::kBF16, DType::kF16, DType::kI64}) {
    for (int64_t width : {1, 16, 17, 64}) {
      const Form form{.width = width, .dtype = dtype};
      ExpectSame(Append(form), form);
    }
    const Form whole{.length = 9, .dtype = dtype, .lengths = {0, 0}}, one{.length = 1, .dtype = dtype, .lengths_dtype = DType::kI32, .lengths = {8, 3}};
    const Form shared{.dtype = dtype, .one_length = true, .lengths = {5}}, none{.length = 0, .dtype = dtype, .lengths = {9, 4}};
    for (const Form& form : {whole, one, shared, none}) ExpectSame(Append(form), form);
  }
  const Form empty{.batch = 0, .lengths = {}};
  ExpectSame(Append(empty), empty);
}

TEST(KvAppend, AttentionReadsTheUpdatedCache) {
  const Form form;
  const Graph graph = Append(form, [](Graph& g, ValueId, ValueId appended) { g.AddOutput("y", Attention(g, appended)); });
  for (int threads : {1, 3}) ExpectSame(graph, form, threads);
}

// Where the cache is still needed as it was, an update must not come first.
TEST(KvAppend, OtherReadersOfTheCacheSeeItAsItWas) {
  const Form form;
  const Rest rests[] = {
      [](Graph& g, ValueId cache, ValueId) { g.AddOutput("y", Attention(g, cache)); },
      [](Graph& g, ValueId cache, ValueId appended) { g.AddOutput("y", g.Add1("sub", {appended, cache})); },
      [](Graph& g, ValueId cache, ValueId appended) { g.AddOutput("y", g.Add1("add", {Attention(g, appended), g.Add1("mean", {cache}, {{"dim", Ints{2}}, {"keepdim", true}})})); },
      [](Graph& g, ValueId cache, ValueId) { g.AddOutput("y", g.Add1("transpose", {cache}, {{"dim0", int64_t{2}}, {"dim1", int64_t{3}}})); },
      [](Graph& g, ValueId, ValueId appended) { g.AddOutput("y", appended); },
  };
  for (size_t i = 0; i < std::size(rests); ++i) {
    SCOPED_TRACE(i);
    ExpectSame(Append(form, rests[i]), form);
  }
}

TEST(KvAppend, EntriesOfTheCacheItself) {
  Graph graph("append");
  const Form form{.length = 3, .lengths = {1, 5}};
  const ValueId cache = graph.AddInput("cache", {form.dtype, form.cache()});
  const ValueId entries = graph.Add1("narrow", {cache}, {{"dim", int64_t{2}}, {"start", int64_t{0}}, {"length", form.length}});
  graph.AddInput("unused", {form.dtype, {1}});
  graph.AddOutput("new", graph.Add1("kv_append", {cache, entries, graph.AddInput("lengths", {DType::kI64, {form.batch}})}));
  ExpectSame(graph, form);
}

TEST(KvAppend, TwoInARow) {
  const Form form{.lengths = {0, 5}};
  Graph graph("append");
  const ValueId cache = graph.AddInput("cache", {form.dtype, form.cache()}), entries = graph.AddInput("entries", {form.dtype, form.entries()});
  const ValueId lengths = graph.AddInput("lengths", {DType::kI64, {form.batch}});
  const ValueId later = graph.Add1("add", {lengths, graph.AddConstant(2, DType::kI64)});
  graph.AddOutput("new", graph.Add1("kv_append", {graph.Add1("kv_append", {cache, entries, lengths}), entries, later}));
  ExpectSame(graph, form);
}

TEST(KvAppend, Gradients) {
  Graph graph("append");
  const Form form;
  const ValueId cache = graph.AddInput("cache", {form.dtype, form.cache()}, true), entries = graph.AddInput("entries", {form.dtype, form.entries()}, true);
  graph.AddOutput("new", graph.Add1("kv_append", {cache, entries, graph.AddInput("lengths", {DType::kI64, {form.batch}})}));
  ExpectEqualsReference(Gradient(graph), Options(), 3);
}

TEST(KvAppend, InPlaceNothingElseOfTheCacheIsTouched) {
  const int64_t page = sysconf(_SC_PAGESIZE), width = page / 4, size = 4;
  const Form form{.batch = 1, .heads = 2, .size = size, .length = 1, .width = width};
  const Graph graph = Append(form);
  const std::unique_ptr<Executable> executable = Executable::Compile(graph, Options(), {{"new", "cache"}});
  auto* cache = static_cast<char*>(mmap(nullptr, 2 * size * page, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
  ASSERT_NE(cache, MAP_FAILED);
  char* rows[] = {cache + 2 * page, cache + (size + 2) * page};  // of both heads; a load or store elsewhere ends the test
  for (char* row : rows) ASSERT_EQ(mprotect(row, page, PROT_READ | PROT_WRITE), 0);
  std::vector<HostTensor> inputs = RandomInputs(graph, 5);
  inputs[2].Set(0, 2);
  const void* in[] = {cache, inputs[1].data(), inputs[2].data()};
  void* out[] = {cache};
  executable->Run(in, out);
  for (int head = 0; head < 2; ++head) {
    EXPECT_EQ(std::memcmp(rows[head], reinterpret_cast<const char*>(inputs[1].data()) + head * page, page), 0);
  }
  munmap(cache, 2 * size * page);
}

TEST(KvAppend, LengthsOutOfRange) {
  for (const bool in_place : {false, true}) {
    const Form form{.lengths = {0, 8}};
    const Graph graph = Append(form);
    const std::unique_ptr<Executable> executable = Executable::Compile(graph, Options(), in_place ? std::vector<InPlace>{{"new", "cache"}} : std::vector<InPlace>{});
    for (int64_t bad : {8, -1}) {
      std::vector<HostTensor> inputs = Inputs(graph, form);
      inputs[2].Set(1, static_cast<double>(bad));
      try {
        in_place ? RunInPlace(*executable, graph, inputs) : RunExecutable(*executable, graph, inputs);
        ADD_FAILURE() << "no error for a length of " << bad;
      } catch (const Error& error) {
        EXPECT_THAT(error.what(), HasSubstr("input 'lengths' is out of range: 0 to 7 expected"));
      }
    }
  }
}

}  // namespace
}  // namespace athanor
