#include "runtime/athanor.h"

#include <deque>
#include <mutex>
#include <new>
#include <nlohmann/json.hpp>
#include <span>
#include <string>
#include <vector>

#include "cache/cache.h"
#include "ops/error.h"
#include "ops/fragment.h"
#include "ops/gradient.h"
#include "runtime/c_api/tensors.h"
#include "runtime/executable.h"
#include "runtime/log.h"
#include "runtime/worker_pool.h"

using athanor::Fail;

// The descriptions of a graph's inputs and outputs, with strides spelled out.
struct athanor_fragment {
  explicit athanor_fragment(athanor::Graph g) : graph(std::move(g)) {
    for (athanor::ValueId v : graph.inputs()) inputs.push_back(Described(graph.value(v).name, graph.desc(v)));
    for (const athanor::NamedValue& output : graph.outputs()) {
      const athanor::TensorDesc& desc = graph.desc(output.value);
      outputs.push_back(Described(output.name, {desc.dtype, desc.shape}));
    }
  }

  struct Tensor {
    std::string name;
    athanor::TensorDesc desc;
  };
  static Tensor Described(const std::string& name, athanor::TensorDesc desc) {
    if (desc.strides.empty()) desc.strides = athanor::ContiguousStrides(desc.shape);
    return {name, std::move(desc)};
  }

  const athanor::Graph graph;
  std::vector<Tensor> inputs, outputs;
};

struct athanor_executable {
  athanor_fragment signature;
  std::unique_ptr<athanor::Executable> executable;
  std::mutex mutex;                                          // one run at a time
  std::string report;                                        // made when first asked for
};

namespace {

thread_local std::string last_error;

athanor_status Refuse(athanor_status status, const char* message) noexcept {
  try {
    last_error = message;
  } catch (...) {
    last_error.clear();                                      // no memory for the message
  }
  return status;
}

// Runs `action`; what it throws becomes a status and a message.
template <typename Action>
athanor_status Guard(Action&& action) noexcept {
  try {
    action();
    return ATHANOR_OK;
  } catch (const athanor::Error& error) {
    return Refuse(ATHANOR_INVALID, error.what());
  } catch (const athanor::CacheError& error) {
    return Refuse(ATHANOR_INVALID, error.what());
  } catch (const std::bad_alloc&) {
    return Refuse(ATHANOR_OUT_OF_MEMORY, "out of memory");
  } catch (const std::exception& error) {
    return Refuse(ATHANOR_INTERNAL, error.what());
  } catch (...) {
    return Refuse(ATHANOR_INTERNAL, "unknown exception");
  }
}

void Expect(const void* argument, const char* name) {
  if (argument == nullptr) Fail("{} is NULL", name);
}

athanor_tensor_info Info(const std::vector<athanor_fragment::Tensor>& tensors, size_t index, const char* role) {
  if (index >= tensors.size()) Fail("{} {} asked for, but there are {}", role, index, tensors.size());
  const athanor_fragment::Tensor& tensor = tensors[index];
  return {tensor.name.c_str(), athanor::ToDLDataType(tensor.desc.dtype), tensor.desc.rank(), tensor.desc.shape.data(), tensor.desc.strides.data()};
}

athanor::Options OptionsOf(const athanor_compile_options& given) {
  std::vector<std::pair<std::string, std::string>> variables = athanor::EnvironmentVariables();
  for (const char* const* setting = given.settings; setting != nullptr && *setting != nullptr; ++setting) {
    const std::string text = *setting;
    const size_t equals = text.find('=');
    if (equals == std::string::npos || !text.starts_with("ATHANOR_")) Fail("setting '{}': expected ATHANOR_NAME=VALUE", text);
    variables.emplace_back(text.substr(0, equals), text.substr(equals + 1));
  }
  return athanor::Options::FromVariables(variables, athanor::LogWarning);
}

std::string ReportOf(const athanor::Report& report) {
  nlohmann::ordered_json json = {{"threads", report.threads},   {"arena_bytes", report.arena_bytes}, {"fuse_ms", report.fuse_ms},
                                 {"load_ms", report.load_ms},   {"kernels", nlohmann::ordered_json::array()}};
  for (const athanor::KernelReport& kernel : report.kernels) {
    json["kernels"].push_back({{"nodes", kernel.nodes}, {"skeleton", kernel.skeleton}, {"schedule", kernel.schedule}, {"flops", kernel.flops},
                               {"bytes", kernel.bytes}, {"cached", kernel.cached}, {"miss", kernel.miss}, {"compile_ms", kernel.compile_ms}});
  }
  return json.dump();
}

// The tensors of one call, in order. A deque: PlacedTensor stays where it is made.
std::deque<athanor::PlacedTensor> Place(const char* role, const std::vector<athanor_fragment::Tensor>& expected,
                                        std::span<const DLTensor* const> tensors) {
  if (tensors.size() != expected.size()) Fail("{} {}s given, {} expected", tensors.size(), role, expected.size());
  std::deque<athanor::PlacedTensor> placed;
  for (size_t i = 0; i < tensors.size(); ++i) placed.emplace_back(role, expected[i].name, expected[i].desc, tensors[i]);
  return placed;
}

void Run(athanor_executable* executable, std::span<const DLTensor* const> inputs, std::span<const DLTensor* const> outputs) {
  auto in = Place("input", executable->signature.inputs, inputs), out = Place("output", executable->signature.outputs, outputs);
  std::vector<const void*> sources;
  std::vector<void*> destinations;
  for (auto& tensor : in) tensor.Fetch(), sources.push_back(tensor.data());
  for (auto& tensor : out) destinations.push_back(tensor.data());
  const std::lock_guard lock(executable->mutex);
  executable->executable->Run(sources, destinations);
  for (auto& tensor : out) tensor.Deliver();
}

// The tensors inside DLPack's versioned form.
std::vector<const DLTensor*> Unwrap(const char* role, std::span<const DLManagedTensorVersioned* const> managed, bool written) {
  std::vector<const DLTensor*> tensors;
  for (size_t i = 0; i < managed.size(); ++i) {
    if (managed[i] == nullptr) Fail("{} {}: the tensor is NULL", role, i);
    if (managed[i]->version.major != DLPACK_MAJOR_VERSION) {
      Fail("{} {} has DLPack version {}.{}, expected {}.x", role, i, managed[i]->version.major, managed[i]->version.minor, DLPACK_MAJOR_VERSION);
    }
    if (written && (managed[i]->flags & DLPACK_FLAG_BITMASK_READ_ONLY)) Fail("{} {} is read-only", role, i);
    tensors.push_back(&managed[i]->dl_tensor);
  }
  return tensors;
}

}  // namespace

const char* athanor_last_error(void) { return last_error.c_str(); }
const char* athanor_version(void) { return ATHANOR_VERSION; }

athanor_status athanor_fragment_load(const char* path, athanor_fragment** fragment) {
  return Guard([&] {
    Expect(path, "path"), Expect(fragment, "fragment");
    *fragment = new athanor_fragment(athanor::LoadFragment(path));
  });
}

athanor_status athanor_fragment_parse(const char* json, size_t bytes, const char* name, athanor_fragment** fragment) {
  return Guard([&] {
    Expect(json, "json"), Expect(name, "name"), Expect(fragment, "fragment");
    *fragment = new athanor_fragment(athanor::ReadFragment({json, bytes}, name));
  });
}

athanor_status athanor_fragment_gradient(const athanor_fragment* forward, athanor_fragment** joint) {
  return Guard([&] {
    Expect(forward, "forward"), Expect(joint, "joint");
    *joint = new athanor_fragment(athanor::Gradient(forward->graph));
  });
}

void athanor_fragment_free(athanor_fragment* fragment) { delete fragment; }

size_t athanor_fragment_inputs(const athanor_fragment* fragment) { return fragment == nullptr ? 0 : fragment->inputs.size(); }
size_t athanor_fragment_outputs(const athanor_fragment* fragment) { return fragment == nullptr ? 0 : fragment->outputs.size(); }

athanor_status athanor_fragment_input(const athanor_fragment* fragment, size_t index, athanor_tensor_info* info) {
  return Guard([&] {
    Expect(fragment, "fragment"), Expect(info, "info");
    *info = Info(fragment->inputs, index, "input");
  });
}

athanor_status athanor_fragment_output(const athanor_fragment* fragment, size_t index, athanor_tensor_info* info) {
  return Guard([&] {
    Expect(fragment, "fragment"), Expect(info, "info");
    *info = Info(fragment->outputs, index, "output");
  });
}

athanor_status athanor_compile(const athanor_fragment* fragment, const athanor_compile_options* options, athanor_executable** executable) {
  return Guard([&] {
    Expect(fragment, "fragment"), Expect(executable, "executable");
    athanor_compile_options given = {sizeof(given), nullptr, nullptr, 0};
    if (options != nullptr) {
      if (options->struct_bytes < sizeof(given)) Fail("options.struct_bytes is {}, expected at least {}", options->struct_bytes, sizeof(given));
      given = *options;
    }
    std::vector<athanor::InPlace> pairs;
    for (size_t i = 0; i < given.in_place_count; ++i) {
      Expect(given.in_place[i].output, "in_place output"), Expect(given.in_place[i].input, "in_place input");
      pairs.push_back({given.in_place[i].output, given.in_place[i].input});
    }
    std::unique_ptr<athanor_executable> made(new athanor_executable{athanor_fragment(fragment->graph), nullptr, {}, {}});
    made->executable = athanor::Executable::Compile(fragment->graph, OptionsOf(given), pairs);
    *executable = made.release();
  });
}

void athanor_executable_free(athanor_executable* executable) { delete executable; }

athanor_status athanor_executable_report(athanor_executable* executable, const char** json) {
  return Guard([&] {
    Expect(executable, "executable"), Expect(json, "json");
    const std::lock_guard lock(executable->mutex);
    if (executable->report.empty()) executable->report = ReportOf(executable->executable->report());
    *json = executable->report.c_str();
  });
}

athanor_status athanor_run(athanor_executable* executable, const DLTensor* const* inputs, size_t input_count, const DLTensor* const* outputs,
                           size_t output_count) {
  return Guard([&] {
    Expect(executable, "executable"), Expect(inputs, "inputs"), Expect(outputs, "outputs");
    Run(executable, {inputs, input_count}, {outputs, output_count});
  });
}

athanor_status athanor_run_managed(athanor_executable* executable, const DLManagedTensorVersioned* const* inputs, size_t input_count,
                                   const DLManagedTensorVersioned* const* outputs, size_t output_count) {
  return Guard([&] {
    Expect(executable, "executable"), Expect(inputs, "inputs"), Expect(outputs, "outputs");
    Run(executable, Unwrap("input", {inputs, input_count}, false), Unwrap("output", {outputs, output_count}, true));
  });
}

athanor_status athanor_run_pointers(athanor_executable* executable, const void* const* inputs, void* const* outputs) {
  return Guard([&] {
    Expect(executable, "executable");
    const athanor_fragment& signature = executable->signature;
    const std::lock_guard lock(executable->mutex);
    executable->executable->Run({inputs, signature.inputs.size()}, {outputs, signature.outputs.size()});
  });
}

athanor_status athanor_use_threads(void (*parallel)(void (*body)(void*), void* data, unsigned threads, unsigned flags), int (*number)(void)) {
  return Guard([&] {
    if ((parallel == nullptr) != (number == nullptr)) Fail("athanor_use_threads: one of 'parallel' and 'number' is null, both or none expected");
    athanor::UseHostThreads({parallel, number});
  });
}
