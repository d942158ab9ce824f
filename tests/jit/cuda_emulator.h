#pragma once

#include <sys/mman.h>
#include <ucontext.h>

#include <cstring>
#include <functional>
#include <memory>
#include <random>
#include <regex>
#include <string>
#include <vector>

#include "jit/codegen_cuda.h"
#include "jit/prelude.h"
#include "ops/error.h"
#include "tests/jit/kernel_runner.h"

namespace athanor::testing {

// Runs generated CUDA text on the CPU. The text is compiled as C++ behind definitions of what CUDA adds to the language; the threads of a
// block are fibers that a seeded random scheduler switches at barriers and shuffles. Shared memory starts as NaNs. A barrier that not every
// thread reaches is an error.
class CudaEmulator {
 public:
  explicit CudaEmulator(const CudaSource& source, uint32_t seed = 1) : random_(seed) {
    current_ = this;
    state_.barrier = [] { current_->Wait(0, current_->threads_); };
    state_.shuffle = [](unsigned long bits, int mask) { return current_->Shuffle(bits, mask); };
    shared_.resize(228 << 10);
    state_.shared = shared_.data();
    for (const CudaSource::Launch& launch : source.launches) launches_.push_back(launch);
    KernelSource host;
    host.text = HostText(source);
    module_ = std::make_unique<Module>(CompilerFor(Targets()[0]).Compile(host, "cuda_emulation"), "cuda_emulation");
  }

  void Run(const std::vector<char*>& pointers) {
    current_ = this;
    for (const CudaSource::Launch& launch : launches_) {
      entry_ = module_->Get<void(char* const*)>("run_" + launch.symbol);
      pointers_ = pointers.data();
      threads_ = launch.threads;
      state_.blockDim = {static_cast<unsigned>(launch.threads), 1, 1};
      state_.gridDim = {static_cast<unsigned>(launch.blocks), 1, 1};
      for (int64_t block = launch.blocks - 1; block >= 0; --block) {
        state_.blockIdx = {static_cast<unsigned>(block), 0, 0};
        RunBlock();
      }
    }
  }

 private:
  struct Dim {
    unsigned x = 0, y = 0, z = 0;
  };
  struct State {                                             // what the kernel's text sees, at a fixed address
    Dim threadIdx, blockIdx, blockDim, gridDim;
    void (*barrier)() = nullptr;
    unsigned long (*shuffle)(unsigned long bits, int mask) = nullptr;
    char* shared = nullptr;
  };
  struct Fiber {
    ucontext_t context;
    std::unique_ptr<char[]> stack;
    bool done = false;
    int group = -1;                                          // the barrier it waits at: 0 the block's, 1 + w that of warp w
  };
  struct Barrier {
    int arrived = 0;
  };

  std::string HostText(const CudaSource& source) const {
    Prelude prelude(Targets()[0].isa, Targets()[0].isa == Isa::kAvx512 ? 16 : 8);
    for (const char* fn : {"exp", "log", "tanh", "erf", "pow"}) {
      for (DType dtype : {DType::kF32, DType::kF64}) prelude.Use(fn, dtype), prelude.Use("splat", dtype);
    }
    std::string text = prelude.Text() + Replace(R"(
struct Dim { unsigned x, y, z; };
struct State { Dim threadIdx, blockIdx, blockDim, gridDim; void (*barrier)(); unsigned long (*shuffle)(unsigned long, int); char* shared; };
#define STATE ((State*)$STATE)
#define threadIdx (STATE->threadIdx)
#define blockIdx (STATE->blockIdx)
#define __global__
#define __device__ static
#define __constant__ static
#define __grid_constant__
#define __launch_bounds__(...)
#define __syncthreads() STATE->barrier()
static float __uint_as_float(unsigned x) { return __builtin_bit_cast(float, x); }
static unsigned __float_as_uint(float x) { return __builtin_bit_cast(unsigned, x); }
template <typename T> static T __shfl_xor_sync(unsigned, T x, int mask) {
  unsigned long bits = 0;
  __builtin_memcpy(&bits, &x, sizeof x);
  bits = STATE->shuffle(bits, mask);
  __builtin_memcpy(&x, &bits, sizeof x);
  return x;
}
#define MATH(name) static float name##f(float x) { return v_##name(splat(x))[0]; } static double name(double x) { return v_##name(splat(x))[0]; }
MATH(exp) MATH(log) MATH(tanh) MATH(erf)
static float powf(float x, float y) { return v_pow(splat(x), splat(y))[0]; }
static double pow(double x, double y) { return v_pow(splat(x), splat(y))[0]; }
static float sqrtf(float x) { return __builtin_elementwise_sqrt(x); }
static double sqrt(double x) { return __builtin_elementwise_sqrt(x); }
static float rsqrtf(float x) { return 1 / __builtin_elementwise_sqrt(x); }
static double rsqrt(double x) { return 1 / __builtin_elementwise_sqrt(x); }
static float fabsf(float x) { return __builtin_elementwise_abs(x); }
static double fabs(double x) { return __builtin_elementwise_abs(x); }
)", "$STATE", std::to_string(reinterpret_cast<uintptr_t>(&state_)) + "ul");
    // Shared arrays, all of one block at once, lie in the emulator's memory.
    const std::regex shared(R"(__shared__ ([\w ]+) (\w+)\[(\d+)\];)");
    std::smatch match;
    int64_t offset = 0;
    std::string rest = source.text;
    while (std::regex_search(rest, match, shared)) {
      text += match.prefix().str() + fmt::format("{0}* const {1} = ({0}*)(STATE->shared + {2});", match[1].str(), match[2].str(), offset);
      offset += std::stoll(match[3]) * 8;
      rest = match.suffix();
    }
    ATHANOR_CHECK(offset <= static_cast<int64_t>(shared_.size()));
    text += rest;
    for (const CudaSource::Launch& launch : source.launches) {
      text += fmt::format("extern \"C\" void run_{0}(char* const* pointers) {{\n  Arguments arguments;\n"
                          "  for (unsigned i = 0; i < sizeof arguments / 8; ++i) arguments.pointers[i] = pointers[i];\n  {0}(arguments);\n}}\n",
                          launch.symbol);
    }
    return text;
  }

  static std::string Replace(std::string text, const std::string& from, const std::string& to) {
    for (size_t at = 0; (at = text.find(from, at)) != std::string::npos; at += to.size()) text.replace(at, from.size(), to);
    return text;
  }

  void RunBlock() {
    constexpr size_t kStack = 64 << 10;
    std::fill(shared_.begin(), shared_.end(), static_cast<char>(0xff));
    fibers_.resize(std::max<size_t>(fibers_.size(), threads_));
    barriers_.assign(1 + threads_ / 32, {});
    slots_.assign(threads_, 0);
    std::vector<int> ready;
    for (int t = 0; t < threads_; ++t) {
      Fiber& fiber = fibers_[t];
      if (!fiber.stack) fiber.stack = std::make_unique<char[]>(kStack);
      fiber.done = false, fiber.group = -1;
      getcontext(&fiber.context);
      fiber.context.uc_stack.ss_sp = fiber.stack.get();
      fiber.context.uc_stack.ss_size = kStack;
      fiber.context.uc_link = &scheduler_;
      makecontext(&fiber.context, reinterpret_cast<void (*)()>(&CudaEmulator::Enter), 0);
      ready.push_back(t);
    }
    ready_ = std::move(ready);
    int finished = 0;
    while (!ready_.empty()) {
      std::swap(ready_[random_() % ready_.size()], ready_.back());
      running_ = ready_.back();
      ready_.pop_back();
      state_.threadIdx = {static_cast<unsigned>(running_), 0, 0};
      swapcontext(&scheduler_, &fibers_[running_].context);
      finished += fibers_[running_].done;
    }
    if (finished != threads_) throw InternalError(fmt::format("{} threads wait at a barrier that others do not reach", threads_ - finished));
  }

  static void Enter() {
    current_->entry_(current_->pointers_);
    current_->fibers_[current_->running_].done = true;
  }

  // Until `count` threads wait at barrier `group`.
  void Wait(int group, int count) {
    const int self = running_;
    fibers_[self].group = group;
    if (++barriers_[group].arrived == count) {
      barriers_[group].arrived = 0;
      for (int t = 0; t < threads_; ++t) {
        if (fibers_[t].done || fibers_[t].group != group) continue;
        fibers_[t].group = -1;
        ready_.push_back(t);
      }
    }
    swapcontext(&fibers_[self].context, &scheduler_);
  }

  unsigned long Shuffle(unsigned long bits, int mask) {
    const int self = running_, group = 1 + self / 32;
    slots_[self] = bits;
    Wait(group, 32);
    const unsigned long got = slots_[self ^ mask];
    Wait(group, 32);
    return got;
  }

  inline static CudaEmulator* current_ = nullptr;
  State state_;
  std::mt19937 random_;
  std::vector<char> shared_;
  std::vector<CudaSource::Launch> launches_;
  std::unique_ptr<Module> module_;
  void (*entry_)(char* const*) = nullptr;
  char* const* pointers_ = nullptr;
  int threads_ = 0, running_ = 0;
  ucontext_t scheduler_;
  std::vector<Fiber> fibers_;
  std::vector<int> ready_;
  std::vector<Barrier> barriers_;
  std::vector<unsigned long> slots_;
};

// Compares emulated CUDA with the evaluator, under several schedulers of threads; none may change a bit.
inline void CheckCudaPlan(const KernelPlan& plan, const CudaSchedule& schedule, const std::vector<Memory>& args, double tolerance) {
  const Body& body = std::get<LoopPlan>(plan.detail).body;
  std::vector<Memory> want = args, first;
  BodyEvaluator(body, args).Store(&want);
  const CudaSource source = GenerateCuda(plan, schedule);
  const std::string what = source.text;
  for (uint32_t seed : {1, 2}) {
    std::vector<Memory> got = args, temporaries;
    std::vector<char*> pointers;
    temporaries.reserve(source.temporary_bytes.size());
    for (Memory& memory : got) pointers.push_back(memory.data());
    for (int64_t bytes : source.temporary_bytes) {
      temporaries.emplace_back(DType::kU8, bytes);
      std::memset(temporaries.back().data(), 0xff, bytes);
      pointers.push_back(temporaries.back().data());
    }
    CudaEmulator(source, seed).Run(pointers);
    for (const Memory& memory : got) EXPECT_TRUE(memory.GuardIntact()) << what;
    for (const Memory& memory : temporaries) EXPECT_TRUE(memory.GuardIntact()) << what;
    if (first.empty()) {
      for (size_t i = 0; i < args.size(); ++i) ExpectClose(got[i], want[i], tolerance, what + "\narg " + std::to_string(i));
      first.swap(got);
    } else {
      for (size_t i = 0; i < args.size(); ++i) EXPECT_TRUE(got[i].SameBytes(first[i])) << what << "\nother bits under another scheduler, arg " << i;
    }
  }
}

}  // namespace athanor::testing
