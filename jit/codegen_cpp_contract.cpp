#include <algorithm>
#include <numeric>

#include "jit/codegen_cpp.h"
#include "jit/contract_epilogue.h"
#include "jit/contract_moments.h"
#include "jit/contract_operand.h"
#include "jit/contract_packer.h"
#include "jit/contract_prefetch.h"
#include "jit/integer_math.h"
#include "jit/microkernel.h"
#include "ops/error.h"

namespace athanor {
namespace {

using Pack = ContractSchedule::Pack;

// The kernel: a phase that packs what is packed as a whole, the tiles, with k_split a phase that adds the partial sums, and one that merges moments.
// A task of the tiles phase owns mc rows and nc columns (all columns when it packs A itself) of one batch, over one part of k. Panels
// of A that tasks pack are packed kc steps at a time, so that they stay in the cache.
class ContractGenerator {
 public:
  ContractGenerator(const KernelPlan& plan, const ContractSchedule& schedule, const CpuTarget& cpu)
      : plan_(plan),
        contract_(std::get<ContractPlan>(plan.detail)),
        schedule_(schedule),
        pairs_(schedule.pairs),
        lanes_(cpu.vector_bytes() / static_cast<int>(SizeOf(contract_.accumulator))),
        prelude_(cpu, lanes_),
        type_(ScalarType(contract_.accumulator)),
        packed_(pairs_ ? "int" : type_),
        a_(contract_.a, contract_.a_result, 1, plan.args),
        b_(contract_.b, contract_.b_result, 2, plan.args),
        along_rows_(StoresAlongRows(contract_)),
        by_strips_(!along_rows_ && (EpilogueReadsRows(contract_) || contract_.moments || columns_along_k())),
        packer_(plan, contract_, a_, b_, schedule.nv, Depth(schedule.pack_a), Depth(schedule.pack_b), pairs_, &prelude_, &out_),
        m_(contract_.m),
        n_(contract_.n),
        k_(contract_.k) {
    k_part_ = schedule.k_split == 1 ? k_ : RoundUp(Ceil(k_, schedule.k_split), lanes_);
    k_parts_ = std::max<int64_t>(1, Ceil(k_, std::max<int64_t>(k_part_, 1)));
    kc_ = std::min(schedule.kc, std::max<int64_t>(k_part_, 1));
    columns_ = schedule.pack_a == Pack::kTask ? n_ : std::min(schedule.nc, n_);
    row_tasks_ = Ceil(m_, schedule.mc);
    column_tasks_ = Ceil(n_, columns_);
    output_ = OutputOfTiles(plan, lanes_);
    if (k_parts_ > 1) {
      where_c_ = C::kPartial, c_row_ = RoundUp(n_, lanes_);
    } else if (output_ != nullptr) {
      where_c_ = C::kOutput, c_row_ = FirstStride(output_->map.dim(1));
    } else if (k_part_ > kc_ || along_rows_) {
      where_c_ = C::kBlock, c_row_ = RoundUp(columns_, lanes_);
    } else {
      where_c_ = C::kStrip, c_row_ = by_strips_ ? StripColumns() + panel() : panel();  // tiles write whole panels
    }
  }

  KernelSource Generate() {
    KernelSource source;
    if (contract_.batch == 0 || m_ == 0 || n_ == 0) {
      source.text = SourceHeader(plan_, schedule_);
      ATHANOR_CHECK(!a_.has_stores() || m_ * contract_.batch == 0);
      return source;
    }
    PlaceTemporaries(&source);
    ContractMoments moments(plan_, MomentsParts(), &prelude_, &out_);
    moments.PlaceParts(&source);
    if (where_c_ != C::kOutput) epilogue_numbers_ = WriteContractEpilogue(plan_, Blocks(), &moments, &prelude_, &out_);
    WritePackers(&source);
    WriteTiles(&source);
    if (k_parts_ > 1) WriteCombine(&source);
    moments.WritePhase(&source);
    source.text = SourceHeader(plan_, schedule_) + prelude_.Text() + "\n" + out_.text();
    return source;
  }

 private:
  enum class C { kStrip, kBlock, kPartial, kOutput };         // where tiles are accumulated

  // Steps of k in a packed block.
  int64_t Depth(Pack pack) const { return pack == Pack::kTask ? std::clamp<int64_t>(contract_.k, 1, schedule_.kc) : contract_.k; }
  bool PacksAByParts() const { return schedule_.pack_a == Pack::kTask && a_.by_parts(); }
  // k in elements of packed operands, of which one is two steps where they are pairs: as a number, and as C++ text.
  int64_t Steps(int64_t k) const { return pairs_ ? Ceil(k, 2) : k; }
  std::string StepsText(const std::string& k) const { return pairs_ ? fmt::format("{} / 2", k) : k; }
  bool k_blocks() const { return kc_ < k_part_; }            // C waits for the last of several
  // Of which all bounds of blocks of k are multiples.
  int64_t StepMultiple() const { return std::gcd(k_, std::gcd(k_parts_ > 1 ? k_part_ : 0, k_blocks() ? kc_ : 0)); }
  // One A for the whole batch is packed once.
  int64_t ABatch() const { return a_.same_for_batch() ? 1 : contract_.batch; }
  std::string ABatchIndex() const { return a_.same_for_batch() ? "0" : "b"; }
  // The tile: rows and columns. Where vectors run along k its mr rows are those of A, or, where A is one row, columns of B.
  bool along_k() const { return schedule_.nv == 0; }
  bool columns_along_k() const { return along_k() && contract_.m == 1; }
  int64_t tile_rows() const { return columns_along_k() ? 1 : schedule_.mr; }
  int64_t panel() const { return columns_along_k() ? schedule_.mr : along_k() ? 1 : static_cast<int64_t>(schedule_.nv) * lanes_; }
  int64_t bytes(int64_t elements) const { return RoundUp(elements * SizeOf(contract_.accumulator), 64); }
  int64_t BlockColumns() const { return std::min(schedule_.nc, columns_); }
  // The columns that the epilogue finishes together, where it takes whole rows of tiles. For moments so few that the L1 cache keeps the operands as well.
  int64_t StripColumns() const {
    if (!contract_.moments || k_parts_ > 1) return BlockColumns();
    const int64_t panel_bytes = tile_rows() * panel() * SizeOf(contract_.accumulator), panels = Ceil(BlockColumns(), panel());
    const int64_t strips = Ceil(panels, std::max<int64_t>(kStripBytes / panel_bytes, 1));
    return strips == 1 ? BlockColumns() : Ceil(panels, strips) * panel();
  }
  EpilogueBlocks Blocks() const {
    const int64_t rows = k_parts_ > 1 ? kCombinedRows : along_rows_ ? schedule_.mc : tile_rows();
    return {c_row_, std::gcd(rows, m_), std::min(rows, m_), n_ % lanes_ == 0, rows};
  }
  ContractMoments::Parts MomentsParts() const {              // of results along n: StoresAlongRows has none
    return k_parts_ > 1 ? ContractMoments::Parts{n_, kCombinedColumns} : ContractMoments::Parts{BlockColumns(), StripColumns()};
  }

  // Arguments behind the plan's own; scratch offsets in bytes.
  void PlaceTemporaries(KernelSource* source) {
    int next = static_cast<int>(plan_.args.size());
    auto temporary = [&](int64_t elements) {
      source->temporary_bytes.push_back(bytes(elements));
      return next++;
    };
    if (schedule_.pack_a == Pack::kPhase) packed_a_ = temporary(ABatch() * packer_.PackedRows(m_));
    if (schedule_.pack_b == Pack::kPhase) packed_b_ = temporary(contract_.batch * packer_.PackedColumns(n_));
    if (k_parts_ > 1) partial_ = temporary(k_parts_ * contract_.batch * m_ * c_row_ + 3 * panel());
    int64_t scratch = 0;
    auto place = [&](int64_t elements) {
      const int64_t offset = scratch;
      scratch += bytes(elements) + 64;
      return offset;
    };
    // Tiles write whole vectors, and rows of A are read in whole tiles: a little room behind each block.
    scratch_a_ = place(schedule_.pack_a == Pack::kTask ? packer_.PackedRows(std::min(schedule_.mc, RoundUp(m_, lanes_))) : 0);
    scratch_b_ = place(schedule_.pack_b == Pack::kTask ? packer_.PackedColumns(BlockColumns()) : 0);
    scratch_c_ = place(where_c_ == C::kBlock   ? std::min(schedule_.mc, m_) * c_row_ + panel()
                       : where_c_ == C::kStrip ? tile_rows() * c_row_
                       : where_c_ == C::kPartial ? kCombinedRows * c_row_
                                                 : 0);
    scratch_sums_ = place(packer_.SumElements(schedule_.pack_a == Pack::kTask ? schedule_.mc : PackRows()));
    source->scratch_bytes = scratch;
  }

  static constexpr int64_t kCombinedRows = 16;               // of C that one task of the combine phase finishes
  static constexpr int64_t kCombinedColumns = 512;           // a part of its moments
  static constexpr int64_t kStripBytes = 5 << 10;            // measured on a Zen 4, 1 to 16 KB
  static constexpr int64_t kPlainBlock = 1 << 17;            // products: about two microseconds
  static constexpr int64_t kFetchSteps = 48;                 // of k: shorter products are over before memory answers
  // Rows of A that one task of the pack phase copies. Windows are read in long runs across the rows.
  int64_t PackRows() const { return a_.windows() ? 256 : 64; }
  static constexpr int64_t kPackElements = 1 << 15;          // about so many of B

  void WritePackers(KernelSource* source) {
    const bool a_phase = schedule_.pack_a == Pack::kPhase, b_phase = schedule_.pack_b == Pack::kPhase;
    if (schedule_.pack_a != Pack::kNone) packer_.WritePackA();
    if (schedule_.pack_b != Pack::kNone) packer_.WritePackB(StepMultiple());
    if (!a_phase && !b_phase) return;
    // B along its contiguous direction: some rows, or two panels of columns.
    const int64_t b_steps = packer_.b_by_rows() ? RoundUp(std::max<int64_t>(1, kPackElements / n_), 2) : std::max<int64_t>(1, k_);
    const int64_t b_columns = packer_.b_by_rows() ? n_ : 2 * panel(), b_parts = Ceil(std::max<int64_t>(1, k_), b_steps);
    const int64_t a_chunks = a_phase ? Ceil(m_, PackRows()) : 0, b_chunks = b_phase ? b_parts * Ceil(n_, b_columns) : 0, batch = contract_.batch;
    out_.Open("extern \"C\" void pack(char* const* args, long begin, long end, char* scratch)");
    out_.Open("for (long task = begin; task < end; ++task)");
    if (a_phase) {
      if (b_phase) out_.Open("if (task < {})", ABatch() * a_chunks);
      out_.Line("const long b = {};", ABatch() == 1 ? "0" : fmt::format("task / {}", a_chunks));
      WriteRange("m0", "m1", a_chunks == 1 ? "" : fmt::format("task % {}", a_chunks), PackRows(), m_);
      out_.Line("pack_a(args, b, m0, m1, 0, {0}, ({1}*)args[{2}] + b * {3} + {4}, ({5}*)(scratch + {6}));", k_, packed_, packed_a_,
                packer_.PackedRows(m_), packer_.RowOffset("m0"), type_, scratch_sums_);
      if (b_phase) {
        out_.Line("continue;");
        out_.Close();
      }
    }
    if (b_phase) {
      out_.Line("const long rest = task{};", a_phase ? fmt::format(" - {}", ABatch() * a_chunks) : "");
      out_.Line("const long b = {}, chunk = rest{};", batch == 1 ? "0" : fmt::format("rest / {}", b_chunks), batch == 1 ? "" : fmt::format(" % {}", b_chunks));
      const int64_t column_parts = Ceil(n_, b_columns);
      WriteRange("k0", "k1", b_parts == 1 ? "" : fmt::format("chunk % {}", b_parts), b_steps, k_);
      WriteRange("n0", "n1", column_parts == 1 ? "" : b_parts == 1 ? "chunk" : fmt::format("chunk / {}", b_parts), b_columns, n_);
      out_.Line("pack_b(args, b, k0, k1, n0, n1, ({}*)args[{}] + b * {} + {} + {} * {});", packed_, packed_b_, packer_.PackedColumns(n_),
                packer_.PanelOffset("n0"), StepsText("k0"), packer_.b_step());
    }
    out_.Close();
    out_.Close();
    out_.Blank();
    source->phases.push_back({"pack", ABatch() * a_chunks + batch * b_chunks});
  }

  // ---- tiles

  Microkernel TileKernel(bool row_tail, bool column_tail) const {
    Microkernel kernel;
    kernel.name = std::string("tile") + (row_tail ? "_m" : "") + (column_tail ? "_n" : "");
    kernel.dtype = pairs_ ? DType::kBF16 : contract_.accumulator;
    kernel.mr = row_tail ? static_cast<int>(m_ % schedule_.mr) : schedule_.mr;
    const int64_t rest = n_ % panel();
    if (along_k()) {
      const ContractOperand& matrix = columns_along_k() ? b_ : a_;
      if (column_tail) kernel.mr = static_cast<int>(rest);
      kernel.nv = 0;
      kernel.a_row = matrix.stride(columns_along_k() ? 2 : 1) / (pairs_ ? 2 : 1);
      kernel.c_row = columns_along_k() ? 1 : c_row_;
      return kernel;
    }
    kernel.nv = column_tail ? static_cast<int>(Ceil(rest, lanes_)) : schedule_.nv;
    if (schedule_.pack_a == Pack::kNone) {
      kernel.a_row = pairs_ ? a_.stride(1) / 2 : a_.stride(1), kernel.a_step = a_.stride(2);
    } else {
      kernel.a_row = packer_.a_row(), kernel.a_step = packer_.a_step();
    }
    kernel.b_step = schedule_.pack_b == Pack::kNone ? b_.stride(1) : packer_.b_step();
    kernel.b_tail = schedule_.pack_b == Pack::kNone && column_tail ? rest % lanes_ : 0;
    kernel.c_row = c_row_;
    kernel.unroll = schedule_.unroll;
    return kernel;
  }

  void WriteMicrokernel(bool row_tail, bool column_tail) {
    athanor::WriteMicrokernel(TileKernel(row_tail, column_tail), schedule_.maker == ContractSchedule::Maker::kAsmjit, &prelude_, &out_);
  }

  void WriteTiles(KernelSource* source) {
    for (bool row_tail : {false, true}) {
      for (bool column_tail : {false, true}) {
        if (HasTile(row_tail, column_tail)) WriteMicrokernel(row_tail, column_tail);
      }
    }
    const bool fetches_c = by_strips_ && EpilogueReadsRows(contract_) && k_parts_ == 1 && kc_ >= kFetchSteps;
    if (fetches_c) WriteFetchC(plan_, contract_, panel(), &prelude_, &out_);
    const int64_t tasks = k_parts_ * contract_.batch * column_tasks_ * row_tasks_;
    out_.Open("extern \"C\" void tiles(char* const* args, long begin, long end, char* scratch)");
    DeclareArgs(plan_.args, &out_);
    if (schedule_.pack_b == Pack::kTask) out_.Line("long packed = -1;");
    out_.Open("for (long task = begin; task < end; ++task)");
    out_.Line("const long block = task / {};", row_tasks_);
    WriteRange("m0", "m1", row_tasks_ == 1 ? "" : fmt::format("task % {}", row_tasks_), schedule_.mc, m_);
    WriteRange("c0", "c1", column_tasks_ == 1 ? "" : fmt::format("block % {}", column_tasks_), columns_, n_);
    const int64_t blocks = column_tasks_ * contract_.batch;
    out_.Line("const long b = {};", contract_.batch == 1 ? "0" : fmt::format("block / {} % {}", column_tasks_, contract_.batch));
    if (k_parts_ > 1) out_.Line("const long part = block / {};", blocks);
    WriteRange("k_begin", "k_end", k_parts_ == 1 ? "" : "part", k_part_, k_);
    const auto pack_a = [&](std::string_view from, std::string_view to) {
      out_.Line("pack_a(args, b, m0, m1, {}, {}, ({}*)(scratch + {}), ({}*)(scratch + {}));", from, to, packed_, scratch_a_, type_, scratch_sums_);
    };
    if (schedule_.pack_a == Pack::kTask && !PacksAByParts()) pack_a("0", std::to_string(k_));
    const bool column_blocks = BlockColumns() < columns_;
    if (k_blocks()) {
      out_.Open("for (long k0 = k_begin; k0 < k_end; k0 += {})", kc_);
      out_.Line("const long k1 = k0 + {0} < k_end ? k0 + {0} : k_end;", kc_);
    } else {
      out_.Line("const long k0 = k_begin, k1 = k_end;");
    }
    if (PacksAByParts()) pack_a("k0", "k1");
    if (column_blocks) {
      out_.Open("for (long n0 = c0; n0 < c1; n0 += {})", BlockColumns());
      out_.Line("const long n1 = n0 + {0} < c1 ? n0 + {0} : c1;", BlockColumns());
    } else {
      out_.Line("const long n0 = c0, n1 = c1;");
    }
    WritePackTaskB();
    IsPlainBlock() ? WriteMultiply() : WriteTileLoops(fetches_c);
    if (column_blocks) out_.Close();
    if (k_blocks()) out_.Close();
    if (where_c_ == C::kBlock && along_rows_) {
      out_.Line("epilogue(args, b, m0, m1 - m0, c0, c1, ({}*)(scratch + {}){});", type_, scratch_c_, epilogue_numbers_);
    }
    for (int depth = 0; depth < 2; ++depth) out_.Close();
    out_.Blank();
    source->phases.push_back({"tiles", tasks});
  }

  bool row_tails() const { return m_ % tile_rows() != 0; }
  bool column_tails() const { return n_ % panel() != 0; }
  bool whole_rows() const { return m_ >= tile_rows(); }
  bool whole_columns() const { return n_ >= panel(); }
  bool HasTile(bool row_tail, bool column_tail) const {
    return (row_tail ? row_tails() : whole_rows()) && (column_tail ? column_tails() : whole_columns());
  }

  // Nothing happens between its tiles, and a call, of about ten nanoseconds, is nothing beside them.
  bool IsPlainBlock() const {
    const bool plain = where_c_ == C::kPartial || where_c_ == C::kOutput || along_rows_;
    return plain && !along_k() && std::min(schedule_.mc, m_) * BlockColumns() * std::min(kc_, k_) >= kPlainBlock;
  }

  // Rows [m0, m1) and columns [n0, n1) over [k0, k1).
  void WriteMultiply() {
    prelude_.Use("multiply", contract_.accumulator);
    const Microkernel kernel = TileKernel(false, false);
    const bool plain_a = schedule_.pack_a == Pack::kNone, plain_b = schedule_.pack_b == Pack::kNone;
    const int64_t share = FetchShare();
    out_.OpenBlock();
    out_.Line("const long m = m0, n = n0;");
    const auto operand = [&](const std::string& at) { return pairs_ ? fmt::format("(const {}*)({})", type_, at) : at; };
    const auto tile = [&](bool row_tail, bool column_tail) -> std::string {
      if (!HasTile(row_tail, column_tail)) return "0";
      const std::string name = TileKernel(row_tail, column_tail).name;
      return pairs_ ? fmt::format("(void (*)(const {0}*, const {0}*, {0}*, long, long)){1}", type_, name) : name;
    };
    out_.Line("multiply_{}({}, {}, {}, {}, {}, m1 - m0, {},", Name(contract_.accumulator), operand(APointer()), plain_a ? 1 : packer_.a_rows(),
              plain_a ? kernel.a_row : packer_.a_panel(), share > 0 ? kernel.a_row : 0, share, schedule_.mr);
    out_.Line("  {}, {}, n1 - n0, {}, {}, {}, {}, {},", operand(BPointer()), plain_b ? panel() : packer_.b_panel(), panel(), CPointer("n", "n0"), c_row_, StepsOfTile(), FirstOfTile());
    out_.Line("  {}, {}, {}, {});", tile(false, false), tile(false, true), tile(true, false), tile(true, true));
    out_.Close();
  }

  void WriteTileLoops(bool fetches_c) {
    out_.Open("for (long m = m0; m < m1; m += {})", tile_rows());
    out_.Line("const long rows = {};", row_tails() ? fmt::format("m + {0} < m1 ? {0} : m1 - m", tile_rows()) : std::to_string(tile_rows()));
    out_.Line("const {}* a = {};", packed_, APointer());
    const bool strips = StripColumns() < BlockColumns();
    if (strips) {
      out_.Open("for (long s0 = n0; s0 < n1; s0 += {})", StripColumns());
      out_.Line("const long s1 = s0 + {0} < n1 ? s0 + {0} : n1;", StripColumns());
    }
    const std::string_view first = strips ? "s0" : "n0", last = strips ? "s1" : "n1";
    out_.Open("for (long n = {}; n < {}; n += {})", first, last, panel());
    WriteFetchA();
    out_.Line("const {}* bp = {};", packed_, BPointer());
    out_.Line("{}* c = {};", type_, CPointer("n", first));
    if (fetches_c) out_.Line("{}fetch_c(args, b, m, m + rows, n);", k_blocks() ? "if (k1 == k_end) " : "");
    WriteTileCall();
    if (!by_strips_) WriteEpilogueCall("n", fmt::format("n + {0} < {1} ? n + {0} : {1}", panel(), n_), first);
    out_.Close();
    if (by_strips_) WriteEpilogueCall(first, last, first);
    if (strips) out_.Close();
    out_.Close();
  }

  // The part `index` of [0, size) in parts of `step`; all of it where `index` is empty.
  void WriteRange(std::string_view first, std::string_view last, std::string_view index, int64_t step, int64_t size) {
    if (index.empty()) return out_.Line("const long {} = 0, {} = {};", first, last, size);
    out_.Line("const long {0} = {2} * {3}, {1} = {0} + {3} < {4} ? {0} + {3} : {4};", first, last, index, step, size);
  }

  // Rows of A that lie along k: each tile asks for its share of the next rows, so many steps. Hardware does better on longer ones.
  int64_t FetchShare() const {
    const Microkernel kernel = TileKernel(false, false);
    if (along_k() || kernel.a_step != 1 || kernel.a_row == 0 || kc_ < kFetchSteps || Steps(kc_) * SizeOf(contract_.accumulator) > 1024) return 0;
    return RoundUp(Ceil(Steps(kc_), Ceil(BlockColumns(), panel())), 64 / SizeOf(contract_.accumulator));
  }

  void WriteFetchA() {
    const int64_t share = FetchShare();
    if (share == 0) return;
    out_.Open("for (long i = {}; i < {}; ++i)", schedule_.mr, 2 * schedule_.mr);
    out_.Line("const {}* next = a + i * {} + (n - n0) / {} * {};", packed_, TileKernel(false, false).a_row, panel(), share);
    out_.Line("for (long p = 0; p < {}; p += {}) __builtin_prefetch(next + p);", share, 64 / SizeOf(contract_.accumulator));
    out_.Close();
  }

  // Columns [from, to) of the rows at hand. Where other tensors are read, the tiles of a row are finished together, as memory is read and
  // written in longer pieces, and where moments are taken, as sums across a vector are few.
  void WriteEpilogueCall(std::string_view from, std::string_view to, std::string_view strip) {
    if (where_c_ == C::kPartial || where_c_ == C::kOutput || along_rows_) return;
    out_.Line("{}epilogue(args, b, m, rows, {}, {}, {}{});", k_blocks() ? "if (k1 == k_end) " : "", from, to, CPointer(from, strip), epilogue_numbers_);
  }

  void WritePackTaskB() {
    if (schedule_.pack_b != Pack::kTask) return;
    const std::string call = fmt::format("pack_b(args, b, k0, k1, n0, n1, ({}*)(scratch + {}));", packed_, scratch_b_);
    if (k_part_ > kc_ || BlockColumns() < columns_) {
      out_.Line("{}", call);
      return;
    }
    out_.Comment("Tasks that follow each other often share their columns of B.");
    out_.Open("if (packed != block)");
    out_.Line("{}", call);
    out_.Line("packed = block;");
    out_.Close();
  }

  std::string APointer() const {
    switch (schedule_.pack_a) {
      case Pack::kNone: {
        const std::string steps = a_.run(pairs_) == 0 ? fmt::format("k0 * {}", a_.stride(2))
                                                : fmt::format("k0 % {0} * {1} + k0 / {0} * {2}", a_.run(pairs_), a_.stride(2), a_.run_stride());
        const std::string at = fmt::format("{} + m * {} + {}", a_.Base("b"), a_.stride(1), steps);
        return pairs_ ? fmt::format("(const int*)({})", at) : at;
      }
      case Pack::kPhase:
        return fmt::format("({}*)args[{}] + {} * {} + {} + {} * {}", packed_, packed_a_, ABatchIndex(), packer_.PackedRows(m_), packer_.RowOffset("m"),
                           StepsText("k0"), packer_.a_step());
      case Pack::kTask:
        return fmt::format("({}*)(scratch + {}) + {}{}", packed_, scratch_a_, packer_.RowOffset("(m - m0)"),
                           PacksAByParts() ? "" : " + " + StepsText("k0"));
    }
    return "";
  }

  std::string BPointer() const {
    switch (schedule_.pack_b) {
      case Pack::kNone: {
        const std::string at = fmt::format("{} + k0 * {} + n{}", b_.Base("b"), b_.stride(1), along_k() ? fmt::format(" * {}", b_.stride(2)) : "");
        return pairs_ ? fmt::format("(const int*)({})", at) : at;
      }
      case Pack::kPhase:
        return fmt::format("({}*)args[{}] + b * {} + {} + {} * {}", packed_, packed_b_, packer_.PackedColumns(n_), packer_.PanelOffset("n"),
                           StepsText("k0"), packer_.b_step());
      case Pack::kTask: return fmt::format("({}*)(scratch + {}) + {}", packed_, scratch_b_, packer_.PanelOffset("(n - n0)"));
    }
    return "";
  }

  // Where column `n` of a strip that begins at column `strip` lies.
  std::string CPointer(std::string_view n, std::string_view strip) {
    switch (where_c_) {
      case C::kStrip: return fmt::format("({}*)(scratch + {}){}", type_, scratch_c_, by_strips_ ? fmt::format(" + ({} - {})", n, strip) : "");
      case C::kBlock: return fmt::format("({}*)(scratch + {}) + (m - m0) * {} + ({} - c0)", type_, scratch_c_, c_row_, n);
      case C::kPartial:
        return fmt::format("({}*)args[{}] + ((part * {} + b) * {} + m) * {} + {}", type_, partial_, contract_.batch, m_, c_row_, n);
      case C::kOutput: {
        BodyEmitter emitter(contract_.epilogue, plan_.args, &prelude_, &out_);
        emitter.SetIndex(0, "b");
        emitter.SetIndex(1, "m");
        emitter.SetIndex(2, std::string(n));
        return emitter.Pointer(*output_);
      }
    }
    return "";
  }

  std::string_view StepsOfTile() const { return pairs_ ? "(k1 - k0 + 1) / 2" : "k1 - k0"; }
  std::string_view FirstOfTile() const { return k_blocks() ? "k0 == k_begin" : "1"; }

  void WriteTileCall() {
    auto call = [&](bool row_tail, bool column_tail) {
      return fmt::format("{}({}, c, {}, {});", TileKernel(row_tail, column_tail).name, columns_along_k() ? "bp, a" : "a, bp", StepsOfTile(), FirstOfTile());
    };
    auto columns = [&](bool row_tail) {
      if (!column_tails()) return call(row_tail, false);
      if (!whole_columns()) return call(row_tail, true);
      return fmt::format("if (n + {} <= {}) {} else {}", panel(), n_, call(row_tail, false), call(row_tail, true));
    };
    if (!row_tails()) return out_.Line("{}", columns(false));
    if (!whole_rows()) return out_.Line("{}", columns(true));
    out_.Open("if (rows == {})", tile_rows());
    out_.Line("{}", columns(false));
    out_.Close(" else {");
    out_.Line("  {}", columns(true));
    out_.Line("}}");
  }

  // Adds the parts of k, in order, and runs the epilogue.
  void WriteCombine(KernelSource* source) {
    const int64_t rows = kCombinedRows, chunks = Ceil(m_, rows), part = contract_.batch * m_ * c_row_;
    prelude_.Use("add_parts", contract_.accumulator);
    out_.Open("extern \"C\" void combine(char* const* args, long begin, long end, char* scratch)");
    out_.Line("{0}* const c = ({0}*)(scratch + {1});", type_, scratch_c_);
    out_.Open("for (long task = begin; task < end; ++task)");
    out_.Line("const long b = task / {0}, m0 = task % {0} * {1}, m1 = m0 + {1} < {2} ? m0 + {1} : {2};", chunks, rows, m_);
    out_.Line("add_parts_{0}((const {1}*)args[{2}] + (b * {3} + m0) * {4}, {5}, {6}, c, (m1 - m0) * {4});", Name(contract_.accumulator), type_, partial_, m_,
              c_row_, k_parts_, part);
    if (contract_.moments) {
      out_.Open("for (long n0 = 0; n0 < {}; n0 += {})", n_, kCombinedColumns);
      out_.Line("epilogue(args, b, m0, m1 - m0, n0, n0 + {0} < {1} ? n0 + {0} : {1}, c + n0{2});", kCombinedColumns, n_, epilogue_numbers_);
      out_.Close();
    } else {
      out_.Line("epilogue(args, b, m0, m1 - m0, 0, {}, c{});", n_, epilogue_numbers_);
    }
    for (int depth = 0; depth < 2; ++depth) out_.Close();
    source->phases.push_back({"combine", contract_.batch * chunks});
  }

  const KernelPlan& plan_;
  const ContractPlan& contract_;
  const ContractSchedule& schedule_;
  bool pairs_;
  int lanes_;
  Prelude prelude_;
  SourceWriter out_;
  std::string epilogue_numbers_;                             // the last arguments of its calls
  std::string_view type_, packed_;                           // of C, and of the elements of packed operands
  ContractOperand a_, b_;
  bool along_rows_, by_strips_;
  ContractPacker packer_;
  int64_t m_, n_, k_;
  int64_t k_part_, k_parts_, kc_, columns_, row_tasks_, column_tasks_;
  const Operand* output_;                                    // that the micro-kernels write to, or null
  C where_c_;
  int64_t c_row_;
  int packed_a_ = -1, packed_b_ = -1, partial_ = -1;         // args
  int64_t scratch_a_ = 0, scratch_b_ = 0, scratch_c_ = 0, scratch_sums_ = 0;
};

}  // namespace

KernelSource GenerateCppContract(const KernelPlan& plan, const ContractSchedule& schedule, const CpuTarget& cpu) {
  return ContractGenerator(plan, schedule, cpu).Generate();
}

}  // namespace athanor
