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

std::string NameOf(const KernelPlan& plan, std::string_view digest) { return fmt::format("{}_{}", Name(plan.skeleton), digest.substr(0, 12)); }

// With its code in memory. Throws InternalError where that lacks a phase.
std::shared_ptr<LoadedKernel> Placed(const KernelRef& ref, const Image& image) {
  auto kernel = std::make_shared<LoadedKernel>();
  kernel->ref = ref;
  kernel->cached = true;
  kernel->module = std::make_unique<Module>(image, ref.name);
  for (const auto& phase : ref.phases) kernel->phases.push_back({kernel->module->Get<KernelFn>(phase.symbol), phase.tasks});
  return kernel;
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
  BackgroundWriter writer(cache_);
  ForEach(unique.size(), threads, [&](size_t u) { loaded[u] = LoadOne(plans[unique[u]], &writer); });
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
    loaded[i] = Placed(refs[i], *image);
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

std::shared_ptr<LoadedKernel> KernelLoader::LoadOne(const ScheduledPlan& scheduled, BackgroundWriter* writer) {
  KernelSource source = GenerateCpp(*scheduled.plan, scheduled.schedule, cpu_);
  const std::string digest = Digest(WithoutHeader(source.text));
  const KernelRef ref{NameOf(*scheduled.plan, digest), digest, ToString(scheduled.schedule), source.phases, source.temporary_bytes, source.scratch_bytes};
  if (!dump_directory_.empty()) Dump(dump_directory_, ref.name, source.text);

  const CacheKey key = KeyOf(ref);
  std::optional<Image> image = CachedImage(key);
  const bool cached = image.has_value();
  std::string miss;
  double compile_ms = 0;
  if (!image) {
    miss = ExplainMiss(key, PresentKeys());
    if (no_jit_) Fail("ATHANOR_NO_JIT: kernel {} is not in the cache: {}", ref.name, miss);
    const auto start = std::chrono::steady_clock::now();
    image = compiler().Compile(source, ref.name);
    compile_ms = MillisecondsSince(start);
    writer->Put(key, Serialize(*image));
  }
  std::shared_ptr<LoadedKernel> kernel = Placed(ref, *image);
  kernel->cached = cached;
  kernel->miss = miss;
  kernel->compile_ms = compile_ms;
  kernel->source = std::move(source.text);
  return kernel;
}

}  // namespace athanor
