#include "runtime/kernel_loader.h"

#include <atomic>
#include <chrono>
#include <exception>
#include <filesystem>
#include <fstream>
#include <map>
#include <thread>
#include <utility>

#include "jit/codegen_cpp.h"
#include "ops/error.h"

namespace athanor {
namespace {

double MillisecondsSince(std::chrono::steady_clock::time_point start) {
  return std::chrono::duration<double, std::milli>(std::chrono::steady_clock::now() - start).count();
}

std::string NameOf(const KernelPlan& plan, std::string_view source) {
  return fmt::format("{}_{}", Name(plan.skeleton), Digest(source).substr(0, 12));
}

void Dump(const std::string& directory, const std::string& name, const std::string& text) {
  const std::filesystem::path path = std::filesystem::path(directory) / (name + ".cpp");
  std::error_code error;
  std::filesystem::create_directories(directory, error);
  std::ofstream file(path);
  file << text;
  if (!file.flush()) Fail("{} can't be written", path.string());
}

// Runs job(0 .. count-1) on `threads` threads; rethrows the first failure.
template <typename Job>
void ForEach(size_t count, int threads, const Job& job) {
  std::atomic<size_t> next{0};
  std::vector<std::exception_ptr> failures(count);
  auto work = [&] {
    for (size_t i = next++; i < count; i = next++) {
      try {
        job(i);
      } catch (...) {
        failures[i] = std::current_exception();
      }
    }
  };
  std::vector<std::thread> helpers;
  for (int t = 1; t < threads && t < static_cast<int>(count); ++t) helpers.emplace_back(work);
  work();
  for (std::thread& helper : helpers) helper.join();
  for (const std::exception_ptr& failure : failures) {
    if (failure) std::rethrow_exception(failure);
  }
}

}  // namespace

std::string_view WithoutHeader(std::string_view source) {
  while (source.starts_with("//")) {
    const size_t end = source.find('\n');
    source.remove_prefix(end == std::string_view::npos ? source.size() : end + 1);
  }
  return source;
}

KernelLoader::KernelLoader(CpuTarget cpu, Cache* cache, bool no_jit, std::string dump_directory)
    : cpu_(std::move(cpu)), cache_(cache), no_jit_(no_jit), dump_directory_(std::move(dump_directory)) {}

KernelLoader::~KernelLoader() = default;

Compiler& KernelLoader::compiler() {
  const std::lock_guard lock(mutex_);
  if (!compiler_) compiler_ = MakeClangCompiler(cpu_);
  return *compiler_;
}

std::vector<std::shared_ptr<const LoadedKernel>> KernelLoader::Load(const std::vector<ScheduledPlan>& plans, int threads) {
  std::map<std::string, size_t> by_identity;
  std::vector<size_t> kernel_of, unique;
  for (size_t i = 0; i < plans.size(); ++i) {
    const std::string identity = plans[i].plan->Structure() + "\n" + ToString(plans[i].schedule);
    auto [found, fresh] = by_identity.try_emplace(identity, unique.size());
    if (fresh) unique.push_back(i);
    kernel_of.push_back(found->second);
  }
  std::vector<std::shared_ptr<LoadedKernel>> loaded(unique.size());
  ForEach(unique.size(), threads, [&](size_t u) { loaded[u] = LoadOne(plans[unique[u]]); });
  std::vector<std::shared_ptr<const LoadedKernel>> result;
  for (size_t kernel : kernel_of) result.push_back(loaded[kernel]);
  return result;
}

std::shared_ptr<LoadedKernel> KernelLoader::LoadOne(const ScheduledPlan& scheduled) {
  KernelSource source = GenerateCpp(*scheduled.plan, scheduled.schedule, cpu_);
  const std::string name = NameOf(*scheduled.plan, WithoutHeader(source.text));
  if (!dump_directory_.empty()) Dump(dump_directory_, name, source.text);

  auto kernel = std::make_shared<LoadedKernel>();
  CacheKey key("binary");
  key.Add("source", Digest(WithoutHeader(source.text))).Add("compiler", CompilerIdentity(cpu_));
  std::optional<Image> image;
  if (auto bytes = cache_->Get(key)) {
    try {
      image = DeserializeImage(*bytes);
    } catch (const Error&) {
      // An entry of another layout of images is a miss like any other.
    }
  }
  kernel->cached = image.has_value();
  if (!image) {
    kernel->miss = cache_->ExplainMiss(key);
    if (no_jit_) Fail("ATHANOR_NO_JIT: kernel {} is not in the cache: {}", name, kernel->miss);
    const auto start = std::chrono::steady_clock::now();
    image = compiler().Compile(source, name);
    kernel->compile_ms = MillisecondsSince(start);
    cache_->Put(key, Serialize(*image));
  }
  kernel->module = std::make_unique<Module>(*image, name);
  for (const KernelSource::Phase& phase : source.phases) {
    kernel->phases.push_back({kernel->module->Get<KernelFn>(phase.symbol), phase.tasks});
  }
  kernel->temporary_bytes = source.temporary_bytes;
  kernel->scratch_bytes = source.scratch_bytes;
  kernel->schedule = ToString(scheduled.schedule);
  kernel->source = std::move(source.text);
  return kernel;
}

}  // namespace athanor
