#include "jit/attention_mask.h"

#include "jit/attention_rows.h"

namespace athanor {
namespace {

bool Side(const Digits& digits, int64_t stride) {  // one step of the index is `stride` elements, everywhere
  const Digits simple = Coalesce(digits);
  return simple.empty() || (simple.size() == 1 && simple[0].stride == stride);
}

// scale * score
std::string Scaled(const AttentionPlan& plan, const std::string& score) {
  return plan.scale == 1 ? score : fmt::format("{} * {}", score, Literal(plan.scale, plan.dtype));
}

bool Constant(const Digits& digits) { return DigitsText(digits, "i") == "0"; }

// What the mask adds to a score, from an expression for its elements.
std::string Added(const AttentionPlan& plan, const std::string& loaded, bool vector) {
  if (plan.mask_dtype != DType::kBool) return loaded;
  const std::string lowest = LowestLiteral(plan.dtype);
  return vector ? fmt::format("select({}, {}{{}}, splat({}))", loaded, VectorType(plan.dtype), lowest)
                : fmt::format("({} ? 0 : {})", loaded, lowest);
}

std::string AddedElement(const AttentionPlan& plan, const std::string& address) {
  const std::string suffix = MemorySuffix(plan.mask_dtype), element = fmt::format("*({})", address);
  return Added(plan, IsHalf(plan.mask_dtype) ? fmt::format("{}_value({})", suffix.substr(1), element) : element, false);
}

// Rows of keys side by side: a square of queries by keys is transposed in registers.
void WriteTransposed(const AttentionPlan& plan, int64_t row, Prelude* prelude, SourceWriter* out) {
  const std::string suffix = MemorySuffix(plan.mask_dtype);
  const int lanes = prelude->lanes();
  prelude->Use("transpose", plan.dtype);
  if (suffix.empty()) prelude->Use("tail", plan.mask_dtype);
  out->Open("for (long j = 0; j < keys; j += {})", lanes);
  out->Line("{} r[{}];", VectorType(plan.dtype), lanes);
  const std::string address = fmt::format("mask + {} + key + j", DigitsText(plan.mask.map.dim(2), "(query + l)"));
  out->Open("if (queries == {0} && j + {0} <= keys)", lanes);
  out->Unroll();
  out->Line("for (int l = 0; l < {}; ++l) r[l] = {};", lanes, Added(plan, fmt::format("load{}({})", suffix, address), true));
  out->Line("transpose(r);");
  out->Unroll();
  const std::string scores = fmt::format("scores + (j + l) * {}", row);
  out->Line("for (int l = 0; l < {}; ++l) store({}, {} + r[l]);", lanes, scores, Scaled(plan, fmt::format("load({})", scores)));
  out->Line("continue;");
  out->Close();
  out->Line("const long n = keys - j < {0} ? keys - j : {0};", lanes);
  out->Unroll();
  out->Line("for (int l = 0; l < {}; ++l) r[l] = {}{{}};", lanes, VectorType(plan.dtype));
  out->Line("for (int l = 0; l < queries; ++l) r[l] = {};",
            Added(plan, fmt::format("load{}_tail({}, n)", suffix, address), true));
  out->Line("transpose(r);");
  out->Line("for (int l = 0; l < n; ++l) store({}, {} + r[l]);", scores, Scaled(plan, fmt::format("load({})", scores)));
  out->Close();
}

}  // namespace

std::string HeadAddress(const Operand& operand, const std::string& batch, const std::string& head) {
  return fmt::format("a{} + {} + {} + {}", operand.arg, operand.map.offset(), DigitsText(operand.map.dim(0), batch),
                     DigitsText(operand.map.dim(1), head));
}

void WriteAddMask(const AttentionPlan& plan, int64_t row, Prelude* prelude, SourceWriter* out) {
  const std::string suffix = MemorySuffix(plan.mask_dtype);
  for (const char* helper : {"load", "store", "splat", "select"}) prelude->Use(helper, plan.dtype);
  if (!suffix.empty()) prelude->Use(suffix.substr(1));
  const Digits &query = plan.mask.map.dim(2), &key = plan.mask.map.dim(3);
  out->Comment("scores[j][l] = scale * scores[j][l] + mask[query + l][key + j]");
  out->Open(
      "static __attribute__((noinline)) void add_mask({}* scores, const {}* mask, long query, long key, long keys, long queries)",
      ScalarType(plan.dtype), MemoryType(plan.mask_dtype));
  if (Constant(query)) {
    const std::string value = AddedElement(plan, fmt::format("mask + {}", DigitsText(key, "(key + j)")));
    const std::string at = fmt::format("scores + j * {}", row);
    out->Line("for (long j = 0; j < keys; ++j) store({}, {} + splat({}));", at, Scaled(plan, fmt::format("load({})", at)), value);
  } else if (Side(key, 1)) {
    WriteTransposed(plan, row, prelude, out);
  } else {
    const std::string value =
        AddedElement(plan, fmt::format("mask + {} + {}", DigitsText(query, "(query + l)"), DigitsText(key, "(key + j)")));
    out->Open("for (long j = 0; j < keys; ++j)");
    const std::string score = fmt::format("scores[j * {} + l]", row);
    out->Line("for (long l = 0; l < queries; ++l) {} = {} + {};", score, Scaled(plan, score), value);
    out->Close();
  }
  out->Close();
  out->Blank();
}

void WriteAddMaskRow(const AttentionPlan& plan, Prelude* prelude, SourceWriter* out) {
  const std::string suffix = MemorySuffix(plan.mask_dtype);
  for (const char* helper : {"load", "store", "splat", "select", "tail"}) prelude->Use(helper, plan.dtype);
  if (!suffix.empty()) prelude->Use(suffix.substr(1));
  const std::string query = DigitsText(plan.mask.map.dim(2), "query");
  const Digits& key = plan.mask.map.dim(3);
  out->Comment("scores[j] += mask[query][key + j]");
  out->Open("static __attribute__((noinline)) void add_mask({}* scores, const {}* mask, long query, long key, long keys)",
            ScalarType(plan.dtype), MemoryType(plan.mask_dtype));
  if (Side(key, 1)) {
    const int lanes = prelude->lanes();
    const std::string address = fmt::format("mask + {} + key + j", query);
    out->Line("long j = 0;");
    out->Line("for (; j + {0} <= keys; j += {0}) store(scores + j, load(scores + j) + {1});", lanes,
              Added(plan, fmt::format("load{}({})", suffix, address), true));
    out->Line("if (j < keys) store_tail(scores + j, load_tail(scores + j, keys - j) + {}, keys - j);",
              Added(plan, fmt::format("load{}_tail({}, keys - j)", suffix, address), true));
  } else {
    out->Line("for (long j = 0; j < keys; ++j) scores[j] += {};",
              AddedElement(plan, fmt::format("mask + {} + {}", query, DigitsText(key, "(key + j)"))));
  }
  out->Close();
  out->Blank();
}

void WriteStoreMaskGradient(const AttentionPlan& plan, int64_t row, Prelude* prelude, SourceWriter* out) {
  const int lanes = prelude->lanes();
  const std::string_view type = ScalarType(plan.dtype);
  for (const char* helper : {"load", "store", "tail", "transpose"}) prelude->Use(helper, plan.dtype);
  const std::string query = DigitsText(plan.dmask.map.dim(2), "(query + l)");
  out->Comment("dmask[query + l][key + j] = ds[j][l], then ds is scaled");
  out->Open(
      "static __attribute__((noinline)) void store_mask_gradient({0}* ds, {0}* dmask, long query, long key, long keys, long "
      "queries)",
      type);
  if (Side(plan.dmask.map.dim(3), 1)) {
    out->Open("for (long j = 0; j < keys; j += {})", lanes);
    out->Line("const long n = keys - j < {0} ? keys - j : {0};", lanes);
    out->Line("{0} r[{1}];", VectorType(plan.dtype), lanes);
    out->Unroll();
    out->Line("for (int l = 0; l < {}; ++l) r[l] = l < n ? load(ds + (j + l) * {}) : {}{{}};", lanes, row,
              VectorType(plan.dtype));
    out->Line("transpose(r);");
    out->Line("for (int l = 0; l < queries; ++l) store_tail(dmask + {} + key + j, r[l], n);", query);
    out->Close();
  } else {
    out->Open("for (long j = 0; j < keys; ++j)");
    out->Line("for (long l = 0; l < queries; ++l) dmask[{} + {}] = ds[j * {} + l];", query,
              DigitsText(plan.dmask.map.dim(3), "(key + j)"), row);
    out->Close();
  }
  if (plan.scale != 1) {
    out->Line("for (long j = 0; j < keys; ++j) store(ds + j * {0}, load(ds + j * {0}) * {1});", row,
              Literal(plan.scale, plan.dtype));
  }
  out->Close();
  out->Blank();
}

}  // namespace athanor
