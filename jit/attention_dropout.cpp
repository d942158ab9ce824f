#include "jit/attention_dropout.h"

#include <cstdint>

#include "ops/philox.h"

namespace athanor {

void WriteDropout(const AttentionPlan& plan, int64_t row, Prelude* prelude, SourceWriter* out) {
  for (const char* helper : {"load", "store", "select"}) prelude->Use(helper, plan.dtype);
  for (const char* helper : {"splat", "iota"}) prelude->Use(helper, DType::kI32);
  prelude->Use("philox");
  const std::string_view type = ScalarType(plan.dtype), vector = VectorType(plan.dtype);
  // Signed comparison of words shifted by half their range.
  const auto threshold = static_cast<int32_t>(DropoutThreshold(plan.dropout_p) ^ 0x80000000u);
  const std::string factor = Literal(DropoutFactor(plan.dropout_p), plan.dtype);
  const std::string key = plan.backward ? "k0 + j" : "j", at = fmt::format("(j + t) * {}", row);
  out->Comment(fmt::format("Dropout with probability {}", plan.dropout_p));
  out->Open("static __attribute__((noinline)) void drop({0}* p, {1}long seed, long offset, long row, {2}long begin, long end)",
            type, plan.backward ? fmt::format("{}* ds, {} delta, ", type, vector) : "", plan.backward ? "long k0, " : "");
  const std::string first = plan.backward ? "(k0 + begin) / 4 * 4 - k0" : "begin / 4 * 4";
  out->Open("for (long j = {}; j < end; j += 4)", first);
  out->Line("vi32 words[4] = {{splat((int)(({}) / 4)), iota_i32() + (int)row, splat((int)offset), splat((int)(offset >> 32))}};",
            key);
  out->Line("philox(words, (unsigned)seed, (unsigned)(seed >> 32));");
  out->Unroll();
  out->Open("for (int t = 0; t < 4; ++t)");
  out->Line("if (j + t < begin || j + t >= end) continue;");
  out->Line("const vi32 kept = (words[t] ^ (int)0x80000000) >= {};", threshold);
  auto dropped = [&](const std::string& value) { return fmt::format("select(kept, {} * {}, {}{{}})", value, factor, vector); };
  out->Line("const {} weight = load(p + {});", vector, at);
  out->Line("store(p + {}, {});", at, dropped("weight"));
  if (plan.backward) {
    const std::string scaled = plan.scale == 1 || plan.dmask.arg >= 0 ? "" : " * " + Literal(plan.scale, plan.dtype);
    out->Comment("Where the weight is zero, dP may not have been computed.");
    out->Line("store(ds + {0}, weight == 0 ? {1}{{}} : weight * ({2} - delta){3});", at, vector,
              dropped(fmt::format("load(ds + {})", at)), scaled);
  }
  out->Close();
  out->Close();
  out->Close();
  out->Blank();
}

std::string DropoutKey(const AttentionPlan& plan) {
  return fmt::format("a{}[{}], a{}[{}]", plan.seed.arg, plan.seed.map.offset(), plan.offset.arg, plan.offset.map.offset());
}

std::string DropoutRow(const AttentionPlan& plan, const std::string& batch, const std::string& head, const std::string& query) {
  return fmt::format("({} * {} + {}) * {} + {}", batch, plan.heads, head, plan.lq, query);
}

}  // namespace athanor
