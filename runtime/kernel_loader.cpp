#include "runtime/kernel_loader.h"

#include <algorithm>
#include <atomic>
#include <exception>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <map>
#include <thread>
#include <utility>

#include "jit/codegen_cpp.h"
#include "ops/error.h"

namespace athanor {
namespace {

std::string NameOf(const KernelPlan& plan, std::string_view digest) { return fmt::format("{}_{}", Name(plan.skeleton), digest.substr(0, 12)); }

// Places the code in memory. Throws InternalError where it lacks a phase.
void Place(const Image& image, LoadedKernel* kernel) {
  kernel->module = std::make_unique<Module>(image, kernel->ref.name);
  for (const auto& phase : kernel->ref.phases) kernel->phases.push_back({kernel->module->Get<KernelFn>(phase.symbol), phase.tasks});
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
  if (!compiler_) compiler_ = expected_.valid() ? expected_.get() : MakeClangCompiler(cpu_);
  return *compiler_;
}

void KernelLoader::ExpectMisses() {
  const std::lock_guard lock(mutex_);
  if (no_jit_ || compiler_ || expected_.valid()) return;
  expected_ = std::async(std::launch::async, [cpu = cpu_] { return MakeClangCompiler(cpu); });
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
  std::vector<std::shared_ptr<LoadedKernel>> loaded(unique.size()), missing;
  ForEach(unique.size(), threads, [&](size_t u) { loaded[u] = Find(plans[unique[u]]); });
  std::copy_if(loaded.begin(), loaded.end(), std::back_inserter(missing), [](const auto& kernel) { return !kernel->cached; });
  BackgroundWriter writer(cache_);
  // Several threads are to end at about the same time. One alone gains from large groups, up to a dozen kernels (Compiler::CompileAll).
  const size_t most_in_group = threads == 1 ? 12 : std::clamp<size_t>(missing.size() / (4 * static_cast<size_t>(threads)), 1, 8);
  const size_t groups = (missing.size() + most_in_group - 1) / most_in_group;
  ForEach(groups, threads, [&](size_t g) {
    const size_t begin = g * missing.size() / groups, end = (g + 1) * missing.size() / groups;
    Compile(std::span(missing).subspan(begin, end - begin), &writer);
  });
  writer.Finish();
  std::vector<std::shared_ptr<const LoadedKernel>> result;
  for (size_t kernel : kernel_of) result.push_back(loaded[kernel]);
  return result;
}

std::optional<std::vector<std::shared_ptr<const LoadedKernel>>> KernelLoader::LoadCached(const std::vector<KernelRef>& refs, int threads) {
  std::vector<std::shared_ptr<const LoadedKernel>> loaded(refs.size());
  std::atomic<bool> complete{true};
  ForEach(refs.size(), threads, [&](size_t i) {
    const std::optional<Image> image = complete ? CachedImage(KeyOf(refs[i])) : std::nullopt;
    if (!image) return complete.store(false);
    auto kernel = std::make_shared<LoadedKernel>();
    kernel->ref = refs[i];
    kernel->cached = true;
    Place(*image, kernel.get());
    loaded[i] = std::move(kernel);
  });
  if (!complete) return std::nullopt;
  return loaded;
}

CacheKey KernelLoader::KeyOf(const KernelRef& ref) const {
  return CacheKey("binary").Add("source", ref.source).Add("compiler", CompilerIdentity(cpu_));
}

const std::vector<CacheKey>& KernelLoader::PresentKeys() {
  const std::lock_guard lock(mutex_);
  if (!present_) present_ = cache_->Keys("binary");
  return *present_;
}

std::optional<Image> KernelLoader::CachedImage(const CacheKey& key) {
  const auto bytes = cache_->Get(key);
  if (!bytes) return std::nullopt;
  try {
    return DeserializeImage(*bytes);
  } catch (const Error&) {
    return std::nullopt;                                     // an entry of another layout of images is a miss like any other
  }
}

std::shared_ptr<LoadedKernel> KernelLoader::Find(const ScheduledPlan& scheduled) {
  KernelSource source = GenerateCpp(*scheduled.plan, scheduled.schedule, cpu_);
  const std::string digest = Digest(WithoutHeader(source.text));
  auto kernel = std::make_shared<LoadedKernel>();
  kernel->ref = {NameOf(*scheduled.plan, digest), digest, ToString(scheduled.schedule), source.phases, source.temporary_bytes, source.scratch_bytes};
  kernel->source = std::move(source.text);
  if (!dump_directory_.empty()) Dump(dump_directory_, kernel->ref.name, kernel->source);

  const CacheKey key = KeyOf(kernel->ref);
  const std::optional<Image> image = CachedImage(key);
  kernel->cached = image.has_value();
  if (image) {
    Place(*image, kernel.get());
  } else {
    kernel->miss = ExplainMiss(key, PresentKeys());
    if (no_jit_) Fail("ATHANOR_NO_JIT: kernel {} is not in the cache: {}", kernel->ref.name, kernel->miss);
  }
  return kernel;
}

void KernelLoader::Compile(std::span<const std::shared_ptr<LoadedKernel>> kernels, BackgroundWriter* writer) {
  std::vector<Compiler::Job> jobs;
  for (const auto& kernel : kernels) jobs.push_back({kernel->source, kernel->ref.name});
  const std::vector<Compiler::Result> results = compiler().CompileAll(jobs);
  for (size_t i = 0; i < kernels.size(); ++i) {
    writer->Put(KeyOf(kernels[i]->ref), Serialize(results[i].image));
    Place(results[i].image, kernels[i].get());
    kernels[i]->compile_ms = results[i].milliseconds;
  }
}

}  // namespace athanor
