#include "ops/scalar_fn.h"

#include <array>
#include <cmath>

#include "ops/error.h"
#include "ops/philox.h"

namespace athanor {
namespace {

struct FnInfo {
  std::string_view name;
  int arity;
};

// In the order of Fn.
constexpr std::array<FnInfo, 24> kFns = {{{"neg", 1},   {"abs", 1},     {"exp", 1}, {"log", 1}, {"sqrt", 1}, {"rsqrt", 1},
                                          {"tanh", 1},  {"erf", 1},     {"sigmoid", 1}, {"not", 1}, {"add", 2},  {"sub", 2},
                                          {"mul", 2},   {"div", 2},     {"pow", 2}, {"max", 2}, {"min", 2},  {"eq", 2},
                                          {"lt", 2},    {"gt", 2},      {"and", 2}, {"where", 3}, {"random", 3}, {"cast", 1}}};
static_assert(kFns.size() == static_cast<size_t>(Fn::kCast) + 1);

}  // namespace

int Arity(Fn fn) { return kFns[static_cast<size_t>(fn)].arity; }
std::string_view Name(Fn fn) { return kFns[static_cast<size_t>(fn)].name; }

double Apply(Fn fn, double a, double b, double c) {
  switch (fn) {
    case Fn::kNeg: return -a;
    case Fn::kAbs: return std::fabs(a);
    case Fn::kExp: return std::exp(a);
    case Fn::kLog: return std::log(a);
    case Fn::kSqrt: return std::sqrt(a);
    case Fn::kRsqrt: return 1 / std::sqrt(a);
    case Fn::kTanh: return std::tanh(a);
    case Fn::kErf: return std::erf(a);
    case Fn::kSigmoid: return 1 / (1 + std::exp(-a));
    case Fn::kNot: return a == 0;
    case Fn::kAdd: return a + b;
    case Fn::kSub: return a - b;
    case Fn::kMul: return a * b;
    case Fn::kDiv: return a / b;
    case Fn::kPow: return std::pow(a, b);
    case Fn::kMax: return std::isnan(a) || a > b ? a : b;
    case Fn::kMin: return std::isnan(a) || a < b ? a : b;
    case Fn::kEq: return a == b;
    case Fn::kLt: return a < b;
    case Fn::kGt: return a > b;
    case Fn::kAnd: return a != 0 && b != 0;
    case Fn::kWhere: return a != 0 ? b : c;
    case Fn::kRandom: return RandomWord(static_cast<int64_t>(a), static_cast<int64_t>(b), static_cast<int64_t>(c));
    case Fn::kCast: return a;
  }
  ATHANOR_CHECK(false);
}

}  // namespace athanor
