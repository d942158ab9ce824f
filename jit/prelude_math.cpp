#include <fmt/format.h>

#include "jit/prelude_units.h"

namespace athanor {
namespace {

// The polynomials are minimax fits (Remez exchange, 60 digits) to the functions named beside them; the reductions are the
// textbook ones (J.-M. Muller, "Elementary Functions"). Horner's scheme, each step one fused multiply-add.
std::string Horner(std::string_view type, std::string_view p, std::string_view x,
                   std::initializer_list<const char*> coefficients_from_highest) {
  std::string text;
  for (const char* c : coefficients_from_highest) {
    text += text.empty() ? fmt::format("  {} {} = splat({});\n", type, p, c)
                         : fmt::format("  {0} = madd({0}, {1}, splat({2}));\n", p, x, c);
  }
  return text;
}

// x = n ln2 + r, |r| <= ln2 / 2; defines n, r and q = (e^r - 1 - r) / r^2.
std::string ReduceF32() {
  return "  vf32 n = __builtin_elementwise_roundeven(x * 1.44269504f);\n"
         "  vf32 r = madd(n, splat(-0.693359375f), x);\n"
         "  r = madd(n, splat(2.12194440e-4f), r);\n" +
         Horner("vf32", "q", "r", {"1.3814571e-3f", "8.368731e-3f", "4.1668389e-2f", "1.6666521e-1f", "4.9999994e-1f"});
}

std::string ReduceF64() {
  return "  vf64 n = __builtin_elementwise_roundeven(x * 1.4426950408889634);\n"
         "  vf64 r = madd(n, splat(-6.93147180369123816490e-01), x);\n"
         "  r = madd(n, splat(-1.90821492927058770002e-10), r);\n" +
         Horner("vf64", "q", "r",
                {"2.500003944019806e-08", "2.7630275372549705e-07", "2.7557586582384814e-06", "2.480149302945869e-05",
                 "0.0001984126950619337", "0.0013888888943690292", "0.008333333333494708", "0.04166666666652996",
                 "0.16666666666666413", "0.5000000000000011"});
}

void AppendScale(Isa isa, int lanes, std::vector<PreludeUnit>* units) {
  const bool native32 = isa == Isa::kAvx512 && lanes == 16, native64 = isa == Isa::kAvx512 && lanes == 8;
  units->push_back({"scale.f32",
                    {"splat.f32", "splat.i32"},
                    native32 ? "// p * 2^n\n"
                               "INLINE vf32 scale(vf32 p, vf32 n) {\n"
                               "  return __builtin_ia32_scalefps512_mask(p, n, vf32{}, (unsigned short)-1, 4);\n"
                               "}\n"
                             : "// p * 2^n for integral |n| < 250, in two steps: the result may be denormal\n"
                               "INLINE vf32 scale(vf32 p, vf32 n) {\n"
                               "  vi32 k = __builtin_convertvector(n, vi32);\n"
                               "  vi32 half = k >> 1;\n"
                               "  return p * (vf32)((half + 127) << 23) * (vf32)((k - half + 127) << 23);\n"
                               "}\n"});
  units->push_back({"scale.f64",
                    {"splat.f64", "splat.i64"},
                    native64 ? "// p * 2^n\n"
                               "INLINE vf64 scale(vf64 p, vf64 n) {\n"
                               "  return __builtin_ia32_scalefpd512_mask(p, n, vf64{}, (unsigned char)-1, 4);\n"
                               "}\n"
                             : "// p * 2^n for integral |n| < 2000, in two steps: the result may be denormal\n"
                               "INLINE vf64 scale(vf64 p, vf64 n) {\n"
                               "  vi64 k = __builtin_convertvector(__builtin_convertvector(n, vi32), vi64);\n"
                               "  vi64 half = k >> 1;\n"
                               "  return p * (vf64)((half + 1023) << 52) * (vf64)((k - half + 1023) << 52);\n"
                               "}\n"});
}

// The comparisons are written so that a NaN passes through.
void AppendExp(std::vector<PreludeUnit>* units) {
  units->push_back({"exp.f32",
                    {"scale.f32", "arith.f32"},
                    "INLINE vf32 v_exp(vf32 x) {\n"
                    "  x = -104.0f > x ? splat(-104.0f) : x;\n"
                    "  x = 89.0f < x ? splat(89.0f) : x;\n" +
                        ReduceF32() +
                        "  return scale(madd(r * r, q, r) + 1.0f, n);\n"
                        "}\n"});
  units->push_back({"exp.f64",
                    {"scale.f64", "arith.f64"},
                    "INLINE vf64 v_exp(vf64 x) {\n"
                    "  x = -746.0 > x ? splat(-746.0) : x;\n"
                    "  x = 710.0 < x ? splat(710.0) : x;\n" +
                        ReduceF64() +
                        "  return scale(madd(r * r, q, r) + 1.0, n);\n"
                        "}\n"});
}

// 2^x = 2^floor(x) 2^r, r = x - floor(x) in [0, 1). AVX-512 has both reductions in its instructions, denormals and infinities included; elsewhere n goes
// into the exponent as it is, whose ends stand for 0 and infinity.
void AppendExp2(Isa isa, int lanes, std::vector<PreludeUnit>* units) {
  const std::string p32 = Horner("vf32", "p", "r", {"2.16129159e-4f", "1.24678462e-3f", "9.67545159e-3f", "5.54852806e-2f", "0.240229306f",
                                                    "0.693147044f", "1.0f"});
  const std::string p64 = Horner("vf64", "p", "r", {"6.263466142296021e-10", "6.5595293227704284e-9", "1.0253212435721934e-7",
                                                    "1.320836728895114e-6", "1.5253175055562796e-5", "0.0001540351230962866",
                                                    "0.0013333558629566755", "0.0096181290995507956", "0.055504108665602253",
                                                    "0.2402265069590633", "0.69314718055994593", "1.0"});
  auto add = [&](const char* tag, int full, const char* reduce, const char* mask, const char* least, const char* most, const char* power,
                 const std::string& p) {
    const bool native = isa == Isa::kAvx512 && lanes == full;
    const std::string reduced =
        native ? "  $V r = __builtin_ia32_$REDUCE512_mask(x, 9, $V{}, ($MASK)-1, 4);\n"
               : "  x = $LEAST > x ? splat($LEAST) : x;\n"
                 "  x = $MOST < x ? splat($MOST) : x;\n"
                 "  $V n = __builtin_elementwise_floor(x), r = x - n;\n";
    units->push_back({fmt::format("exp2.{}", tag),
                      {fmt::format("{}.{}", native ? "scale" : "splat", tag), fmt::format("arith.{}", tag)},
                      Substitute("INLINE $V v_exp2($V x) {\n" + reduced + p + (native ? "  return scale(p, x);\n}\n" : "  return p * ($V)($POWER);\n}\n"),
                                 {{"$V", fmt::format("v{}", tag)}, {"$REDUCE", reduce}, {"$MASK", mask}, {"$LEAST", least}, {"$MOST", most}, {"$POWER", power}})});
  };
  add("f32", 16, "reduceps", "unsigned short", "-127.0f", "128.0f", "(__builtin_convertvector(n, vi32) + 127) << 23", p32);
  add("f64", 8, "reducepd", "unsigned char", "-1023.0", "1024.0",
      "(__builtin_convertvector(__builtin_convertvector(n, vi32), vi64) + 1023) << 52", p64);
}

// tanh |x| = t / (t + 2) with t = e^(2|x|) - 1 = 2^n (e^r - 1) + (2^n - 1), which keeps its relative accuracy near 0.
void AppendTanh(std::vector<PreludeUnit>* units) {
  units->push_back({"tanh.f32",
                    {"scale.f32", "arith.f32"},
                    "INLINE vf32 v_tanh(vf32 a) {\n"
                    "  vf32 x = 2.0f * __builtin_elementwise_abs(a);\n"
                    "  x = 19.0f < x ? splat(19.0f) : x;\n" +
                        ReduceF32() +
                        "  vf32 power = scale(splat(1.0f), n);\n"
                        "  vf32 t = madd(power, madd(r * r, q, r), power - 1.0f);\n"
                        "  t = t / (t + 2.0f);\n"
                        "  return (vf32)((vi32)t | ((vi32)a & (int)0x80000000));\n"
                        "}\n"});
  units->push_back({"tanh.f64",
                    {"scale.f64", "arith.f64"},
                    "INLINE vf64 v_tanh(vf64 a) {\n"
                    "  vf64 x = 2.0 * __builtin_elementwise_abs(a);\n"
                    "  x = 40.0 < x ? splat(40.0) : x;\n" +
                        ReduceF64() +
                        "  vf64 power = scale(splat(1.0), n);\n"
                        "  vf64 t = madd(power, madd(r * r, q, r), power - 1.0);\n"
                        "  t = t / (t + 2.0);\n"
                        "  return (vf64)((vi64)t | ((vi64)a & (long)0x8000000000000000));\n"
                        "}\n"});
}

// With e = e^-|x|: 1 / (1 + e) for x >= 0, e / (1 + e) below, accurate down to denormals.
void AppendSigmoid(std::vector<PreludeUnit>* units) {
  for (auto [tag, one] : {std::pair{"f32", "1.0f"}, {"f64", "1.0"}}) {
    units->push_back({fmt::format("sigmoid.{}", tag),
                      {fmt::format("exp.{}", tag)},
                      Substitute("INLINE $V v_sigmoid($V x) {\n"
                                 "  $V e = v_exp(-__builtin_elementwise_abs(x));\n"
                                 "  return (x < 0 ? e : splat($1)) / (e + $1);\n"
                                 "}\n",
                                 {{"$V", fmt::format("v{}", tag)}, {"$1", one}})});
  }
}

// x = 2^e m, sqrt(1/2) <= m < sqrt(2); log x = e ln2 + log m.
void AppendLog(std::vector<PreludeUnit>* units) {
  units->push_back({"log.f32",
                    {"splat.f32", "splat.i32", "arith.f32"},
                    "INLINE vf32 v_log(vf32 a) {\n"
                    "  vi32 tiny = a < 0x1p-126f;\n"
                    "  vf32 x = tiny ? a * 0x1p23f : a;\n"
                    "  vi32 i = (vi32)x - 0x3f3504f3;\n"
                    "  vf32 e = __builtin_convertvector((i >> 23) + (tiny & -23), vf32);\n"
                    "  vf32 f = (vf32)((i & 0x7fffff) + 0x3f3504f3) - 1.0f;\n" +
                        Horner("vf32", "p", "f",
                               {"6.7466415e-2f", "-0.11675641f", "0.11888155f", "-0.12405591f", "0.14219554f", "-0.16667996f",
                                "0.20002119f", "-0.25000009f", "0.33333313f"}) +
                        "  vf32 f2 = f * f;\n"
                        "  vf32 y = madd(e, splat(-2.12194440e-4f), f2 * f * p);\n"
                        "  y = madd(f2, splat(-0.5f), y) + f;\n"
                        "  y = madd(e, splat(0.693359375f), y);\n"
                        "  y = a == 0.0f ? splat(-__builtin_inff()) : y;\n"
                        "  y = a < 0.0f ? splat(__builtin_nanf(\"\")) : y;\n"
                        "  return ((a == __builtin_inff()) | (a != a)) ? a : y;\n"
                        "}\n"});
  units->push_back({"log.f64",
                    {"splat.f64", "splat.i64", "arith.f64"},
                    "INLINE vf64 v_log(vf64 a) {\n"
                    "  vi64 tiny = a < 0x1p-1022;\n"
                    "  vf64 x = tiny ? a * 0x1p52 : a;\n"
                    "  vi64 i = (vi64)x - 0x3fe6a09e667f3bcdL;\n"
                    "  vf64 e = __builtin_convertvector(__builtin_convertvector((i >> 52) + (tiny & -52L), vi32), vf64);\n"
                    "  vf64 f = (vf64)((i & 0xfffffffffffffL) + 0x3fe6a09e667f3bcdL) - 1.0;\n"
                    "  vf64 s = f / (f + 2.0);\n"
                    "  vf64 z = s * s;\n" +
                        Horner("vf64", "p", "z",
                               {"0.132511170743235", "0.13250141800064263", "0.15387089686878216", "0.1818177569066505",
                                "0.22222222646470402", "0.2857142856908817", "0.4000000000000624", "0.6666666666666666"}) +
                        "  vf64 h = 0.5 * f * f;\n"
                        "  vf64 y = s * madd(z, p, h) + e * 1.90821492927058770002e-10;\n"
                        "  y = f - (h - y);\n"
                        "  y = madd(e, splat(6.93147180369123816490e-01), y);\n"
                        "  y = a == 0.0 ? splat(-__builtin_inf()) : y;\n"
                        "  y = a < 0.0 ? splat(__builtin_nan(\"\")) : y;\n"
                        "  return ((a == __builtin_inf()) | (a != a)) ? a : y;\n"
                        "}\n"});
}

// f32 on AVX-512: erf(x) = x P(|x|) with one of 16 polynomials, picked by permuting registers of coefficients: about 17
// instructions. f32 elsewhere: x P(x^2) on |x| < 1/2; 1 - Q(s), s linear in |x|, up to 3.85, where erf is 1 to within half a
// unit. f64: x P(x^2) below 1; above, 1 - e^(-x^2) Q(t) with t = (x - 3) / (x + 3), up to 6.
const char kErfTables[] = R"(// erf(x) / x on [i / 4, (i + 1) / 4) in powers of 4 |x| - i
INLINE vf32 v_erf(vf32 x) {
  const vf32 c0 = {1.1283792f, 1.1053056f, 1.0409998f, 9.482075e-1f, 8.427008e-1f, 7.383201e-1f, 6.440701e-1f, 5.638124e-1f,
                   4.9766114e-1f, 4.4379434e-1f, 3.9983723e-1f, 3.6359978e-1f,
                   3.3332598e-1f, 3.0769098e-1f, 2.8571406e-1f, 2.6666665e-1f};
  const vf32 c1 = {-2.1295413e-7f, -4.5291517e-2f, -8.110852e-2f, -1.0175866e-1f,
                   -1.06898196e-1f, -1.00359745e-1f, -8.752331e-2f, -7.300538e-2f,
                   -5.96243e-2f, -4.851691e-2f, -3.9765902e-2f, -3.300123e-2f,
                   -2.7765559e-2f, -2.366629e-2f, -2.0407762e-2f, -1.7777717e-2f};
  const vf32 c2 = {-2.3505399e-2f, -2.095839e-2f, -1.437041e-2f, -6.265353e-3f,
                   7.7885384e-4f, 5.2887676e-3f, 7.1542077e-3f, 7.131328e-3f,
                   6.161727e-3f, 4.9445853e-3f, 3.8405273e-3f, 2.9634812e-3f,
                   2.305082e-3f, 1.8186455e-3f, 1.4573488e-3f, 1.1851185e-3f};
  const vf32 c3 = {-1.0752099e-5f, 1.63151e-3f, 2.610948e-3f, 2.6533732e-3f,
                   1.9733913e-3f, 1.0390697e-3f, 2.5250186e-4f, -2.155291e-4f,
                   -3.950511e-4f, -3.9943992e-4f, -3.3221266e-4f, -2.5377935e-4f,
                   -1.8793503e-4f, -1.3889546e-4f, -1.03860875e-4f, -7.894249e-5f};
  const vf32 c4 = {4.6174633e-4f, 3.5771364e-4f, 1.2106677e-4f, -1.11172114e-4f,
                   -2.3410602e-4f, -2.3214585e-4f, -1.5761267e-4f, -7.343295e-5f,
                   -1.4933409e-5f, 1.2997274e-5f, 2.043873e-5f, 1.8565437e-5f,
                   1.4221271e-5f, 1.0228749e-5f, 7.253878e-6f, 5.186502e-6f};
  const vf32 c5 = {-1.898848e-5f, -4.5119286e-5f, -4.533243e-5f, -2.490637e-5f,
                   -6.34915e-7f, 1.4047474e-5f, 1.6503342e-5f, 1.176162e-5f,
                   5.7743573e-6f, 1.6386286e-6f, -2.984507e-7f, -8.4347164e-7f,
                   -7.956618e-7f, -5.9852977e-7f, -4.1737331e-7f, -2.863026e-7f};
  vf32 a = 4.0f * __builtin_elementwise_abs(x);
  a = 15.999999f < a ? splat(15.999999f) : a;
  vf32 floor = __builtin_elementwise_floor(a);
  vi32 i = __builtin_ia32_cvttps2dq512_mask(a, vi32{}, (unsigned short)-1, 4);
  vf32 h = a - floor;
  vf32 p = __builtin_ia32_permvarsf512(c5, i);
  p = madd(p, h, __builtin_ia32_permvarsf512(c4, i));
  p = madd(p, h, __builtin_ia32_permvarsf512(c3, i));
  p = madd(p, h, __builtin_ia32_permvarsf512(c2, i));
  p = madd(p, h, __builtin_ia32_permvarsf512(c1, i));
  p = madd(p, h, __builtin_ia32_permvarsf512(c0, i));
  vf32 clamped = 0.25f * (vf32)((vi32)a | ((vi32)x & (int)0x80000000));
  return clamped * p;
}
)";

std::string ErfPolynomials() {
  return "INLINE vf32 v_erf(vf32 x) {\n"
         "  x = -3.85f > x ? splat(-3.85f) : x;\n"
         "  x = 3.85f < x ? splat(3.85f) : x;\n"
         "  vf32 x2 = x * x;\n"
         "  vf32 s = madd(__builtin_elementwise_abs(x), splat(0.5970149f), splat(-1.2985075f));\n" +
         Horner("vf32", "p", "x2", {"4.7179900e-3f", "-2.6757184e-2f", "1.1282822e-1f", "-3.7612608e-1f", "1.1283791f"}) +
         // Even and odd powers apart: half the steps that wait for each other.
         "  vf32 s2 = s * s;\n" +
         Horner("vf32", "odd", "s2", {"-6.9142546e-4f", "6.8884450e-3f", "-2.6528735e-2f", "3.6087338e-2f", "4.9427219e-2f", "-1.5633231e-1f",
                                      "-1.3192871e-1f", "-1.6671842e-2f"}) +
         Horner("vf32", "even", "s2", {"-1.5225395e-3f", "3.2528089e-3f", "1.7698806e-2f", "-7.9109579e-2f", "5.3149212e-2f", "1.8344186e-1f",
                                       "6.0740933e-2f", "2.0985568e-3f"}) +
         "  vf32 q = madd(odd, s, even);\n"
         "  vf32 far = 1.0f - q;\n"
         "  return x2 < 0.25f ? x * p : (x < 0.0f ? -far : far);\n"
         "}\n";
}

void AppendErf(Isa isa, int lanes, std::vector<PreludeUnit>* units) {
  units->push_back({"erf.f32", {"splat.f32", "arith.f32"}, isa == Isa::kAvx512 && lanes == 16 ? kErfTables : ErfPolynomials()});
  units->push_back(
      {"erf.f64",
       {"exp.f64"},
       "INLINE vf64 v_erf(vf64 a) {\n"
       "  vf64 x = __builtin_elementwise_abs(a);\n"
       "  x = 6.0 < x ? splat(6.0) : x;\n"
       "  vf64 x2 = x * x;\n" +
           Horner("vf64", "p", "x2",
                  {"5.945262640753955e-11", "-1.1365666624567702e-09", "1.465788005199366e-08", "-1.6350025260055095e-07",
                   "1.6460972821184672e-06", "-1.4925593507190661e-05", "0.00012055331036913794", "-0.0008548326978742633",
                   "0.005223977624780875", "-0.026866170645072896", "0.11283791670954857", "-0.3761263890318375",
                   "1.1283791670955126"}) +
           "  vf64 t = (x - 3.0) / (x + 3.0);\n" +
           Horner("vf64", "q", "t",
                  {"-3.08610346059917e-08", "1.2354026861133369e-06", "2.0137631460761474e-06", "-7.994722065600654e-06",
                   "-1.2842797409853717e-05", "6.406057011234705e-05", "4.5253750883432874e-05", "-0.0005970623317094397",
                   "0.0007077465149036571", "0.004269136350461888", "-0.024392499320726808", "0.07166583719760408",
                   "-0.15011593650075045", "0.24560380171233376", "-0.32623356004303733", "0.17900115118138996"}) +
           "  vf64 y = x < 1.0 ? x * p : 1.0 - v_exp(-x2) * q;\n"
           "  return (vf64)((vi64)y | ((vi64)a & (long)0x8000000000000000));\n"
           "}\n"});
}

// |a|^b = e^(b log|a|), then the sign and the special cases of C's pow. f32 goes through f64.
void AppendPow(std::vector<PreludeUnit>* units) {
  units->push_back({"pow.f64",
                    {"exp.f64", "log.f64"},
                    "INLINE vf64 v_pow(vf64 a, vf64 b) {\n"
                    "  vf64 y = v_exp(b * v_log(__builtin_elementwise_abs(a)));\n"
                    "  vf64 whole = __builtin_elementwise_trunc(b);\n"
                    "  vf64 half = b * 0.5;\n"
                    "  vi64 odd = (whole == b) & (__builtin_elementwise_trunc(half) != half);\n"
                    "  vi64 negative = (vi64)a < 0;\n"
                    "  y = ((a < 0.0) & (whole != b) & (a != -__builtin_inf())) ? splat(__builtin_nan(\"\")) : y;\n"
                    "  y = (negative & odd) ? -y : y;\n"
                    "  y = ((a == -1.0) & (__builtin_elementwise_abs(b) == __builtin_inf())) ? splat(1.0) : y;\n"
                    "  return ((b == 0.0) | (a == 1.0)) ? splat(1.0) : y;\n"
                    "}\n"});
  units->push_back(
      {"pow.f32",
       {"pow.f64"},
       "INLINE vf32 v_pow(vf32 a, vf32 b) {\n"
       "  return __builtin_convertvector(v_pow(__builtin_convertvector(a, vf64), __builtin_convertvector(b, vf64)), vf32);\n"
       "}\n"});
}

}  // namespace

void AppendMathUnits(Isa isa, int lanes, std::vector<PreludeUnit>* units) {
  AppendScale(isa, lanes, units);
  AppendExp(units);
  AppendExp2(isa, lanes, units);
  AppendTanh(units);
  AppendSigmoid(units);
  AppendLog(units);
  AppendErf(isa, lanes, units);
  AppendPow(units);
}

}  // namespace athanor
