#include <gtest/gtest.h>

#include "jit/contract_space.h"
#include "tests/jit/kernel_runner.h"
#include "tests/jit/plan_builder.h"

namespace athanor::testing {
namespace {

// A product with what fusion may weave around it. Sums are compared with ones in double.
struct Product {
  int64_t batch = 1, m = 1, n = 1, k = 1;
  bool a_across = false;                                     // A lies along m, not along k
  bool b_along_k = false;                                    // B lies along k, not along n
  bool prologue = false;                                     // A and B are scaled along k
  bool sums = false;                                         // side output: the sums of A over k
  bool residual = false;                                     // the epilogue reads a tensor of C's shape
  DType dtype = DType::kF32;                                 // of the operands
  int64_t run = 0;                                           // A lies along k in runs of so many; 0: all of it
  bool moments = false;                                      // of the rows of the result
};

class ContractBuilder {
 public:
  explicit ContractBuilder(const Product& p) : p_(p), builder_({p.batch, p.m, p.k}, 7) {
    const Layout whole(0, {{{p.batch, p.m * p.k}}, {{p.m, p.a_across ? 1 : p.k}}, {{p.k, p.a_across ? p.m : 1}}});
    const Layout a = p.run == 0 ? whole : Layout(0, {{{p.batch, p.m * p.k}}, {{p.m, p.run}}, {{p.run, 1}, {p.k / p.run, p.m * p.run}}});
    const Layout b(0, {{{p.batch, p.k * p.n}}, {{p.k, p.b_along_k ? 1 : p.n}}, {{p.n, p.b_along_k ? p.k : 1}}});
    const Layout row(0, {{{p.batch, p.m}}, {{p.m, 1}}, {{p.k, 0}}});
    int result = builder_.Load(p.dtype, a);
    if (p.sums) sums_ = builder_.Store(builder_.Reduce(Fn::kAdd, result, 4), row);
    const int scales = p.prologue ? builder_.AddArg(p.dtype, p.k, false) : -1;
    const Digits batch = {{p.batch, 0}}, along_m = {{p.m, 0}}, along_n = {{p.n, 0}}, along_k = {{p.k, 1}};
    if (p.prologue) result = builder_.Do(Fn::kMul, result, builder_.LoadArg(scales, Layout(0, {batch, along_m, along_k})));
    plan_.a = Take({p.batch, p.k, p.n}), plan_.a_result = result;

    result = builder_.Load(p.dtype, b);
    if (p.prologue) result = builder_.Do(Fn::kMul, result, builder_.LoadArg(scales, Layout(0, {batch, along_k, along_n})));
    plan_.b = Take({p.batch, p.m, p.n}), plan_.b_result = result;

    result = builder_.Push({.kind = Expr::Kind::kAccumulator});
    result = builder_.Do(Fn::kAdd, result, builder_.Load(DType::kF32, Layout(0, {{{p.batch, 0}}, {{p.m, 0}}, {{p.n, 1}}})));
    if (p.residual) result = builder_.Do(Fn::kAdd, result, builder_.Load(DType::kF32, builder_.Contiguous()));
    out_ = builder_.Store(result, builder_.Contiguous());
    if (p.moments) {
      const Layout per_row(0, {{{p.batch, p.m}}, {{p.m, 1}}, {{p.n, 0}}});
      const Operand to{.arg = out_, .map = builder_.Contiguous()};
      row_sums_ = builder_.AddArg(DType::kF32, p.batch * p.m, true), row_squares_ = builder_.AddArg(DType::kF32, p.batch * p.m, true);
      plan_.moments = RowMoments{result, to, {.arg = row_sums_, .map = per_row}, {.arg = row_squares_, .map = per_row}};
    }
    plan_.epilogue = Take({});
    plan_.batch = p.batch, plan_.m = p.m, plan_.n = p.n, plan_.k = p.k;
  }

  KernelPlan Plan() const {
    KernelPlan plan;
    plan.skeleton = Skeleton::kContract;
    plan.detail = plan_;
    plan.args = builder_.args;
    plan.nodes = {"test"};
    return plan;
  }

  const std::vector<Memory>& args() const { return builder_.memories; }

  // `got` holds the arguments after a run.
  void Check(const std::vector<Memory>& got, const std::string& what) const {
    int failures = 0;
    // Sums of bf16 are stored as bf16, and what a prologue makes of bf16 may be rounded to it before it is multiplied.
    const bool half = p_.dtype == DType::kBF16;
    auto expect = [&](double g, double w, bool rounded, const std::string& at) {
      if (std::abs(g - w) <= (rounded && half ? 4e-3 : 2e-5) * static_cast<double>(p_.k + 4) || ++failures > 3) return;
      ADD_FAILURE() << what << ": " << at << " is " << g << ", expected " << w;
    };
    for (int64_t b = 0; b < p_.batch; ++b) {
      for (int64_t i = 0; i < p_.m; ++i) {
        double sum = 0;
        for (int64_t p = 0; p < p_.k; ++p) sum += A(b, i, p);
        if (p_.sums) expect(got[sums_].Get(b * p_.m + i), sum, true, "sum " + std::to_string(i));
        for (int64_t j = 0; j < p_.n; ++j) {
          const int64_t at = (b * p_.m + i) * p_.n + j;
          double c = got[plan_.epilogue.operands[0].arg].Get(j) + (p_.residual ? got[plan_.epilogue.operands[1].arg].Get(at) : 0);
          for (int64_t p = 0; p < p_.k; ++p) c += A(b, i, p) * B(b, p, j) * Scale(p) * Scale(p);
          expect(got[out_].Get(at), c, p_.prologue, "C " + std::to_string(at));
        }
        if (p_.moments) CheckMoments(got, b * p_.m + i, what);
      }
    }
  }

 private:
  Body Take(std::vector<int64_t> next) {
    Body body = std::move(builder_.body);
    builder_.body = {};
    builder_.body.extents = std::move(next);
    return body;
  }
  double At(const Body& body, int operand, const std::vector<int64_t>& index) const {
    return args()[body.operands[operand].arg].Get(body.operands[operand].map.Address(index));
  }
  double A(int64_t b, int64_t i, int64_t p) const { return At(plan_.a, 0, {b, i, p}); }
  double B(int64_t b, int64_t p, int64_t j) const { return At(plan_.b, 0, {b, p, j}); }
  double Scale(int64_t p) const { return p_.prologue ? At(plan_.a, 1, {0, 0, p}) : 1; }

  // Against those of the result in double.
  void CheckMoments(const std::vector<Memory>& got, int64_t row, const std::string& what) const {
    double sum = 0, squares = 0, sizes = 0;
    for (int64_t j = 0; j < p_.n; ++j) sum += got[out_].Get(row * p_.n + j), sizes += std::abs(got[out_].Get(row * p_.n + j));
    for (int64_t j = 0; j < p_.n; ++j) squares += std::pow(got[out_].Get(row * p_.n + j) - sum / static_cast<double>(p_.n), 2);
    EXPECT_NEAR(got[row_sums_].Get(row), sum, 1e-6 * sizes) << what << ": row " << row;
    EXPECT_NEAR(got[row_squares_].Get(row), squares, 1e-5 * squares) << what << ": row " << row;
  }

  Product p_;
  PlanBuilder builder_;
  ContractPlan plan_;
  int out_ = -1, sums_ = -1, row_sums_ = -1, row_squares_ = -1;
};

// The default, some of the tuner's candidates, and blocks so small that every loop runs more than once.
std::vector<ContractSchedule> SomeSchedules(const KernelPlan& plan, const CpuTarget& cpu) {
  const std::vector<ContractSchedule> space = ContractSpace(plan, cpu);
  std::vector<ContractSchedule> some;
  for (size_t i = 0; i < space.size(); i += 1 + space.size() / 4) some.push_back(space[i]);
  ContractSchedule small = space[0];
  const int64_t lanes = cpu.vector_bytes() / 4;
  small.kc = 2 * lanes, small.nc = small.nv > 0 ? small.nv * lanes : small.nc > 1 ? small.mr : 1, small.mc = small.mr * lanes;
  some.push_back(small);
  small.k_split = 3;
  some.push_back(small);
  for (size_t i = 0, count = some.size(); i < count; ++i) {
    ContractSchedule other = some[i];
    other.pairs = !other.pairs;
    if (other.pairs && other.pack_b == ContractSchedule::Pack::kNone) other.pack_b = ContractSchedule::Pack::kPhase;
    if (other.pairs && other.pack_a == ContractSchedule::Pack::kNone && !Validate(other, plan, cpu).empty()) other.pack_a = ContractSchedule::Pack::kPhase;
    some.push_back(other);
  }
  std::erase_if(some, [&](const ContractSchedule& s) { return !Validate(s, plan, cpu).empty(); });
  return some;
}

class ContractOf : public ::testing::TestWithParam<Product> {};

TEST_P(ContractOf, EveryScheduleComputesTheSame) {
  const ContractBuilder builder(GetParam());
  const KernelPlan plan = builder.Plan();
  for (const CpuTarget& cpu : Targets()) {
    for (const ContractSchedule& schedule : SomeSchedules(plan, cpu)) {
      const std::string what = std::string(Name(cpu.isa)) + " " + ToString(schedule);
      TestKernel kernel(GenerateCpp(plan, schedule, cpu), cpu);
      std::vector<Memory> got = builder.args(), again = builder.args();
      kernel.Run(&got);
      builder.Check(got, what);
      kernel.Run(&again, 5, true);
      for (size_t i = 0; i < got.size(); ++i) EXPECT_TRUE(again[i].SameBytes(got[i])) << what << ": other bits, arg " << i;
    }
  }
}

constexpr Product kProducts[] = {
    {.m = 37, .n = 70, .k = 65},
    {.batch = 2, .m = 50, .n = 97, .k = 130, .b_along_k = true, .residual = true},
    {.m = 33, .n = 40, .k = 1100, .a_across = true, .sums = true},
    {.m = 130, .n = 49, .k = 700, .a_across = true, .prologue = true, .sums = true},
    {.batch = 3, .m = 20, .n = 33, .k = 600, .a_across = true, .residual = true},
    {.m = 1, .n = 100, .k = 90, .b_along_k = true},
    {.m = 70, .n = 1, .k = 40},
    {.batch = 3, .m = 1, .n = 37, .k = 257, .b_along_k = true, .residual = true},
    {.m = 1, .n = 52, .k = 90, .b_along_k = true, .prologue = true},
    {.m = 1, .n = 5, .k = 1100, .a_across = true, .b_along_k = true},
    {.batch = 2, .m = 83, .n = 1, .k = 300, .residual = true},
    {.m = 1, .n = 1, .k = 300},
    {.m = 1, .n = 40, .k = 33, .b_along_k = true, .moments = true},
    {.batch = 2, .m = 40, .n = 64, .k = 48, .prologue = true, .residual = true},
    {.m = 37, .n = 70, .k = 65, .dtype = DType::kBF16},
    {.batch = 2, .m = 50, .n = 97, .k = 130, .b_along_k = true, .residual = true, .dtype = DType::kBF16},
    {.m = 19, .n = 64, .k = 99, .b_along_k = true, .prologue = true, .dtype = DType::kBF16},
    {.m = 33, .n = 40, .k = 1101, .a_across = true, .sums = true, .dtype = DType::kBF16},
    {.m = 130, .n = 49, .k = 701, .a_across = true, .prologue = true, .sums = true, .dtype = DType::kBF16},
    {.batch = 3, .m = 20, .n = 33, .k = 600, .a_across = true, .residual = true, .dtype = DType::kBF16},
    {.m = 1, .n = 100, .k = 91, .b_along_k = true, .dtype = DType::kBF16},
    {.batch = 2, .m = 1, .n = 35, .k = 270, .b_along_k = true, .residual = true, .dtype = DType::kBF16},
    {.m = 83, .n = 1, .k = 130, .dtype = DType::kBF16},
    {.m = 9, .n = 33, .k = 1, .dtype = DType::kBF16},
    {.m = 37, .n = 70, .k = 640, .b_along_k = true, .run = 64},
    {.batch = 2, .m = 70, .n = 33, .k = 1792, .residual = true, .run = 448},
    {.m = 37, .n = 70, .k = 768, .b_along_k = true, .dtype = DType::kBF16, .run = 256},
    {.m = 37, .n = 733, .k = 65, .moments = true},
    {.batch = 2, .m = 20, .n = 200, .k = 600, .residual = true, .moments = true},
    {.batch = 2, .m = 9, .n = 1640, .k = 40, .b_along_k = true, .dtype = DType::kBF16, .moments = true},
    {.m = 70, .n = 5, .k = 40, .moments = true},
    {.m = 4, .n = 3000, .k = 600, .moments = true},
};
INSTANTIATE_TEST_SUITE_P(Shapes, ContractOf, ::testing::ValuesIn(kProducts));

// A product with a vector is bound by reading the matrix: it is used where it lies, in vectors along k.
TEST(ContractDefault, AVectorTimesAMatrixIsTakenAlongK) {
  for (const Product& p : {Product{.m = 1, .n = 100, .k = 90, .b_along_k = true}, Product{.m = 100, .n = 1, .k = 90},
                           Product{.m = 1, .n = 100, .k = 90, .b_along_k = true, .residual = true, .dtype = DType::kBF16}}) {
    const KernelPlan plan = ContractBuilder(p).Plan();
    for (const CpuTarget& cpu : Targets()) {
      if (p.dtype == DType::kBF16 && !cpu.Has("avx512bf16")) continue;  // converted before it is multiplied
      const ContractSchedule s = std::get<ContractSchedule>(DefaultSchedule(plan, cpu));
      EXPECT_EQ(s.nv, 0) << ToString(s);
      EXPECT_EQ(s.pack_a, ContractSchedule::Pack::kNone);
      EXPECT_EQ(s.pack_b, ContractSchedule::Pack::kNone);
      ContractSchedule tall = s;                             // some instructions reach only the first sixteen registers
      tall.mr = 17;
      EXPECT_NE(Validate(tall, plan, cpu), "");
    }
  }
  const KernelPlan matrices = ContractBuilder({.m = 2, .n = 100, .k = 90, .b_along_k = true}).Plan();
  ContractSchedule s = std::get<ContractSchedule>(DefaultSchedule(matrices, Targets()[0]));
  EXPECT_GT(s.nv, 0);
  s.nv = 0;
  EXPECT_NE(Validate(s, matrices, Targets()[0]), "");
}

TEST(ContractDefault, RunsOfAAreUsedWhereTheyLie) {
  const ContractBuilder builder({.m = 256, .n = 64, .k = 8 * 3136, .b_along_k = true, .run = 3136});
  const KernelPlan plan = builder.Plan();
  for (const CpuTarget& cpu : Targets()) {
    const ContractSchedule s = std::get<ContractSchedule>(DefaultSchedule(plan, cpu));
    EXPECT_EQ(s.pack_a, ContractSchedule::Pack::kNone);
    EXPECT_EQ(3136 % s.kc, 0);
    EXPECT_GE(s.k_split, 8);
    EXPECT_EQ(Validate(s, plan, cpu), "");
    ContractSchedule across = s;                             // blocks that reach into the next run
    across.kc = 256;
    EXPECT_NE(Validate(across, plan, cpu), "");
  }
}

// Each part of k has a copy of C: 127 blocks, a prime number, are not shared.
TEST(ContractDefault, ManyUnevenPartsOfRunsAreNotTaken) {
  const ContractBuilder builder({.m = 64, .n = 64, .k = 127 * 64, .b_along_k = true, .run = 64});
  const KernelPlan plan = builder.Plan();
  for (const CpuTarget& cpu : Targets()) {
    const ContractSchedule s = std::get<ContractSchedule>(DefaultSchedule(plan, cpu));
    EXPECT_LE(s.k_split, 32);
    EXPECT_EQ(Validate(s, plan, cpu), "");
  }
}

// Every bf16 product has candidates in pairs, and no other.
TEST(ContractSpace, PairsOfBf16) {
  for (DType dtype : {DType::kF32, DType::kBF16}) {
    const KernelPlan plan = ContractBuilder({.m = 64, .n = 64, .k = 64, .b_along_k = true, .dtype = dtype}).Plan();
    for (const CpuTarget& cpu : Targets()) {
      const std::vector<ContractSchedule> space = ContractSpace(plan, cpu);
      const bool some = std::any_of(space.begin(), space.end(), [](const ContractSchedule& s) { return s.pairs; });
      EXPECT_EQ(some, dtype == DType::kBF16);
    }
  }
}

// Where the processor has the instruction, the default is made of it, whoever makes the tile.
TEST(ContractBf16, UsesTheInstruction) {
  CpuTarget cpu;
  cpu.features = {"avx", "avx2", "avx512bf16", "avx512bw", "avx512dq", "avx512f", "avx512vl", "bmi", "bmi2", "f16c", "fma"};
  const KernelPlan plan = ContractBuilder({.m = 96, .n = 96, .k = 96, .b_along_k = true, .dtype = DType::kBF16}).Plan();
  ContractSchedule schedule = std::get<ContractSchedule>(DefaultSchedule(plan, cpu));
  EXPECT_TRUE(schedule.pairs);
  const auto compiler = MakeClangCompiler(cpu);
  for (auto maker : {ContractSchedule::Maker::kCpp, ContractSchedule::Maker::kAsmjit}) {
    schedule.maker = maker;
    const KernelSource source = GenerateCpp(plan, schedule, cpu);
    EXPECT_EQ(source.text.find("dpbf16ps") != std::string::npos, maker == ContractSchedule::Maker::kCpp);
    const std::string assembly = compiler->List(source, "pairs").assembly;
    EXPECT_EQ(assembly.find("vdpbf16ps") != std::string::npos, maker == ContractSchedule::Maker::kCpp);
    EXPECT_EQ(source.text.find("machine code from asmjit") != std::string::npos, maker == ContractSchedule::Maker::kAsmjit);
  }
}

// No schedule of the space is invalid or twice in it.
TEST(ContractSpace, IsSmallValidAndWithoutRepetition) {
  const Product products[] = {{.m = 1024, .n = 1024, .k = 1024},
                              {.m = 512, .n = 128, .k = 3136, .a_across = true},
                              {.m = 3136, .n = 512, .k = 128, .b_along_k = true}};
  for (const Product& p : products) {
    const KernelPlan plan = ContractBuilder(p).Plan();
    for (const CpuTarget& cpu : Targets()) {
      const std::vector<ContractSchedule> space = ContractSpace(plan, cpu);
      EXPECT_GE(space.size(), 10u);
      EXPECT_LE(space.size(), 100u);
      for (size_t i = 0; i < space.size(); ++i) {
        EXPECT_EQ(Validate(space[i], plan, cpu), "");
        for (size_t j = 0; j < i; ++j) EXPECT_FALSE(space[i] == space[j]) << ToString(space[i]);
      }
    }
  }
}

}  // namespace
}  // namespace athanor::testing
