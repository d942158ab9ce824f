#include "jit/cuda_emulator.h"

#include <fmt/format.h>
#include <ucontext.h>

#include <algorithm>
#include <bit>
#include <map>
#include <random>
#include <regex>
#include <string>
#include <vector>

#include "jit/module.h"
#include "jit/prelude.h"
#include "ops/error.h"

namespace athanor {
namespace {

constexpr size_t kStackBytes = 64 << 10;
constexpr size_t kSharedBytes = 228 << 10;
constexpr int kWarp = 32;

struct Dim {
  unsigned x = 0, y = 0, z = 0;
};

// What the kernel's text sees of the emulator, at a fixed address; declared once more in kLanguage.
struct State {
  Dim thread, block;
  void (*barrier)() = nullptr;
  unsigned long (*shuffle)(unsigned threads, unsigned long bits, int mask) = nullptr;
  char* shared = nullptr;
};

constexpr char kLanguage[] = R"(
struct Dim { unsigned x, y, z; };
struct State { Dim thread, block; void (*barrier)(); unsigned long (*shuffle)(unsigned, unsigned long, int); char* shared; };
#define threadIdx (STATE->thread)
#define blockIdx (STATE->block)
#define __global__
#define __device__ static
#define __constant__ static
#define __grid_constant__
#define __launch_bounds__(...)
#define __syncthreads() STATE->barrier()
static float __uint_as_float(unsigned x) { return __builtin_bit_cast(float, x); }
static unsigned __float_as_uint(float x) { return __builtin_bit_cast(unsigned, x); }
template <typename T> static T __shfl_xor_sync(unsigned threads, T x, int mask) {
  unsigned long bits = 0;
  __builtin_memcpy(&bits, &x, sizeof x);
  bits = STATE->shuffle(threads, bits, mask);
  __builtin_memcpy(&x, &bits, sizeof x);
  return x;
}
#define MATH(name, of_vectors) static float name##f(float x) { return of_vectors(splat(x))[0]; } static double name(double x) { return of_vectors(splat(x))[0]; }
MATH(exp, v_exp) MATH(log, v_log) MATH(tanh, v_tanh) MATH(erf, v_erf)
static float powf(float x, float y) { return v_pow(splat(x), splat(y))[0]; }
static double pow(double x, double y) { return v_pow(splat(x), splat(y))[0]; }
static float sqrtf(float x) { return __builtin_elementwise_sqrt(x); }
static double sqrt(double x) { return __builtin_elementwise_sqrt(x); }
static float rsqrtf(float x) { return 1 / __builtin_elementwise_sqrt(x); }
static double rsqrt(double x) { return 1 / __builtin_elementwise_sqrt(x); }
static float fabsf(float x) { return __builtin_elementwise_abs(x); }
static double fabs(double x) { return __builtin_elementwise_abs(x); }
)";

// Shared arrays lie in the emulator's memory: one block runs at a time.
std::string PlaceSharedArrays(const std::string& text) {
  static const std::regex shared(R"(__shared__ ([\w ]+) (\w+)\[(\d+)\];)");
  std::string result, rest = text;
  size_t offset = 0;
  for (std::smatch match; std::regex_search(rest, match, shared);) {
    result += match.prefix().str() + fmt::format("{0}* const {1} = ({0}*)(STATE->shared + {2});", match[1].str(), match[2].str(), offset);
    offset += std::stoul(match[3]) * 8;
    rest = match.suffix();
  }
  ATHANOR_CHECK(offset <= kSharedBytes);
  return result + rest;
}

std::string HostText(const CudaSource& source, Isa isa, const State* state) {
  Prelude prelude(isa, isa == Isa::kAvx512 ? 16 : 8);
  for (const char* fn : {"exp", "log", "tanh", "erf", "pow"}) {
    for (DType dtype : {DType::kF32, DType::kF64}) prelude.Use(fn, dtype), prelude.Use("splat", dtype);
  }
  std::string text = prelude.Text() + fmt::format("\n#define STATE ((State*){}ul)", reinterpret_cast<uintptr_t>(state)) + kLanguage +
                     PlaceSharedArrays(source.text);
  for (const CudaSource::Launch& launch : source.launches) {
    text += fmt::format(
        "extern \"C\" void run_{0}(char* const* pointers) {{\n  Arguments arguments;\n"
        "  for (unsigned i = 0; i < sizeof arguments / 8; ++i) arguments.pointers[i] = pointers[i];\n  {0}(arguments);\n}}\n",
        launch.symbol);
  }
  return text;
}

}  // namespace

struct CudaEmulator::Impl {
  struct Fiber {
    ucontext_t context;
    std::unique_ptr<char[]> stack;
    bool done = false;
    uint64_t waits = 0;                                      // for the meeting with this key; 0: it does not wait
    unsigned long given = 0, got = 0;                        // in a shuffle
    int mask = 0;
  };

  Impl(const CudaSource& source, const CpuTarget& cpu, Compiler* compiler, uint32_t seed)
      : launches(source.launches), random(seed), shared(kSharedBytes) {
    state.barrier = [] { running->Meet(kEveryThread, running->threads); };
    state.shuffle = [](unsigned threads, unsigned long bits, int mask) { return running->Shuffle(threads, bits, mask); };
    state.shared = shared.data();
    KernelSource host;
    host.text = HostText(source, cpu.isa, &state);
    module = std::make_unique<Module>(compiler->Compile(host, "cuda_emulation"), "cuda_emulation");
  }

  void RunBlock();
  static void Enter();
  void Meet(uint64_t key, int count);
  void Suspend() { swapcontext(&fibers[current].context, &scheduler); }
  unsigned long Shuffle(unsigned threads, unsigned long bits, int mask);

  static constexpr uint64_t kEveryThread = ~uint64_t{0};     // the key of a block's barrier; a shuffle's is its warp and its threads
  inline static thread_local Impl* running = nullptr;

  State state;
  const std::vector<CudaSource::Launch> launches;
  std::mt19937 random;
  std::vector<char> shared;
  std::unique_ptr<Module> module;
  void (*entry)(char* const*) = nullptr;
  char* const* pointers = nullptr;
  int threads = 0, current = 0;                              // of a block; the one that runs
  ucontext_t scheduler;
  std::vector<Fiber> fibers;
  std::vector<int> ready;
  std::map<uint64_t, int> arrived;                           // by key
  std::string error;
};

void CudaEmulator::Impl::RunBlock() {
  std::fill(shared.begin(), shared.end(), static_cast<char>(0xff));
  fibers.resize(std::max<size_t>(fibers.size(), threads));
  arrived.clear();
  ready.clear();
  for (int t = 0; t < threads; ++t) {
    Fiber& fiber = fibers[t];
    if (!fiber.stack) fiber.stack = std::make_unique_for_overwrite<char[]>(kStackBytes);
    fiber.done = false, fiber.waits = 0;
    getcontext(&fiber.context);
    fiber.context.uc_stack.ss_sp = fiber.stack.get();
    fiber.context.uc_stack.ss_size = kStackBytes;
    fiber.context.uc_link = &scheduler;
    makecontext(&fiber.context, &Impl::Enter, 0);
    ready.push_back(t);
  }
  int finished = 0;
  while (!ready.empty()) {
    std::swap(ready[random() % ready.size()], ready.back());
    current = ready.back();
    ready.pop_back();
    state.thread = {static_cast<unsigned>(current), 0, 0};
    swapcontext(&scheduler, &fibers[current].context);
    finished += fibers[current].done;
  }
  if (!error.empty()) throw InternalError(error);
  if (finished != threads) throw InternalError(fmt::format("{} threads wait at a barrier or a shuffle that others do not reach", threads - finished));
}

void CudaEmulator::Impl::Enter() {
  running->entry(running->pointers);
  running->fibers[running->current].done = true;
}

// Returns when `count` threads have come to the meeting `key`.
void CudaEmulator::Impl::Meet(uint64_t key, int count) {
  fibers[current].waits = key;
  if (++arrived[key] == count) {
    arrived.erase(key);
    for (int t = 0; t < threads; ++t) {
      if (fibers[t].waits != key) continue;
      fibers[t].waits = 0;
      if (key != kEveryThread) fibers[t].got = fibers[t ^ fibers[t].mask].given;
      ready.push_back(t);
    }
  }
  Suspend();
}

unsigned long CudaEmulator::Impl::Shuffle(unsigned members, unsigned long bits, int mask) {
  const int lane = current % kWarp, partner = lane ^ mask;
  if (partner < 0 || partner >= kWarp || (members >> lane & 1) == 0 || (members >> partner & 1) == 0) {
    error = fmt::format("thread {} reads from lane {} in a shuffle of the lanes {:#x}", current, partner, members);
    Suspend();                                               // for ever
  }
  fibers[current].given = bits;
  fibers[current].mask = mask;
  const int self = current;
  Meet(static_cast<uint64_t>(current / kWarp) << 32 | members, std::popcount(members));
  return fibers[self].got;
}

CudaEmulator::CudaEmulator(const CudaSource& source, const CpuTarget& cpu, Compiler* compiler, uint32_t seed)
    : impl_(std::make_unique<Impl>(source, cpu, compiler, seed)) {}
CudaEmulator::~CudaEmulator() = default;

void CudaEmulator::Run(std::span<char* const> pointers) {
  Impl::running = impl_.get();
  for (const CudaSource::Launch& launch : impl_->launches) {
    impl_->entry = impl_->module->Get<void(char* const*)>("run_" + launch.symbol);
    impl_->pointers = pointers.data();
    impl_->threads = launch.threads;
    for (int64_t block = launch.blocks - 1; block >= 0; --block) {
      impl_->state.block = {static_cast<unsigned>(block), 0, 0};
      impl_->RunBlock();
    }
  }
}

}  // namespace athanor
