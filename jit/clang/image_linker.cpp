#include "jit/clang/image_linker.h"

#include <memory>
#include <utility>

#include "ops/error.h"

namespace athanor {
namespace {

namespace jitlink = llvm::jitlink;
using llvm::orc::ExecutorAddr;

constexpr uint64_t kBase = 1 << 20;                          // any address will do: the image is position independent
constexpr uint64_t kAlignment = 64;
constexpr int kReadExecute = static_cast<int>(llvm::orc::MemProt::Read) | static_cast<int>(llvm::orc::MemProt::Exec);

// Lays out a link graph's segments one behind the other in a vector.
class ImageMemory final : public jitlink::JITLinkMemoryManager {
 public:
  void allocate(const jitlink::JITLinkDylib*, jitlink::LinkGraph& graph, OnAllocatedFunction on_allocated) override {
    jitlink::BasicLayout layout(graph);
    uint64_t size = 0;
    for (auto& [group, segment] : layout.segments()) {
      size = llvm::alignTo(size, std::max<uint64_t>(kAlignment, segment.Alignment.value()));
      segment.Addr = ExecutorAddr(kBase + size);
      size += segment.ContentSize + segment.ZeroFillSize;
    }
    code.assign(size, std::byte(0));
    for (auto& [group, segment] : layout.segments()) {
      segment.WorkingMem = reinterpret_cast<char*>(code.data()) + (segment.Addr.getValue() - kBase);
    }
    if (llvm::Error error = layout.apply()) return on_allocated(std::move(error));
    on_allocated(std::make_unique<Allocation>());
  }
  using JITLinkMemoryManager::allocate;

  void deallocate(std::vector<FinalizedAlloc> allocations, OnDeallocatedFunction on_deallocated) override {
    for (FinalizedAlloc& allocation : allocations) allocation.release();
    on_deallocated(llvm::Error::success());
  }
  using JITLinkMemoryManager::deallocate;

  std::vector<std::byte> code;

 private:
  class Allocation final : public InFlightAlloc {
   public:
    void finalize(OnFinalizedFunction on_finalized) override { on_finalized(FinalizedAlloc(ExecutorAddr(kBase))); }
    void abandon(OnAbandonedFunction on_abandoned) override { on_abandoned(llvm::Error::success()); }
  };
};

struct LinkResult {
  std::map<std::string, int64_t> symbols;
  std::string error;
};

class ImageContext final : public jitlink::JITLinkContext {
 public:
  ImageContext(const std::vector<MachineCode>& codes, ImageMemory& memory, LinkResult& result)
      : JITLinkContext(nullptr), codes_(codes), memory_(memory), result_(result) {}

  jitlink::JITLinkMemoryManager& getMemoryManager() override { return memory_; }
  void notifyFailed(llvm::Error error) override { result_.error = llvm::toString(std::move(error)); }

  void lookup(const LookupMap& symbols, std::unique_ptr<jitlink::JITLinkAsyncLookupContinuation> continuation) override {
    if (symbols.empty()) return continuation->run(jitlink::AsyncLookupResult());
    std::string names;
    for (const auto& [symbol, flags] : symbols) names += " " + symbol.str();
    continuation->run(llvm::make_error<llvm::StringError>("external symbols:" + names, llvm::inconvertibleErrorCode()));
  }

  llvm::Error notifyResolved(jitlink::LinkGraph& graph) override {
    for (jitlink::Symbol* symbol : graph.defined_symbols()) {
      if (symbol->hasName() && symbol->getScope() == jitlink::Scope::Default) {
        result_.symbols[symbol->getName().str()] = static_cast<int64_t>(symbol->getAddress().getValue() - kBase);
      }
    }
    return llvm::Error::success();
  }

  void notifyFinalized(jitlink::JITLinkMemoryManager::FinalizedAlloc allocation) override { allocation.release(); }

  llvm::Error modifyPassConfig(jitlink::LinkGraph&, jitlink::PassConfiguration& config) override {
    config.PrePrunePasses.push_back([this](jitlink::LinkGraph& graph) {
      PlaceCodes(graph);
      return llvm::Error::success();
    });
    config.PreFixupPasses.push_back([](jitlink::LinkGraph& graph) -> llvm::Error {
      for (const jitlink::Section& section : graph.sections()) {
        const bool writable = static_cast<int>(section.getMemProt()) & static_cast<int>(llvm::orc::MemProt::Write);
        if (writable && !section.empty()) {
          return llvm::make_error<llvm::StringError>("writable data in section " + section.getName().str(), llvm::inconvertibleErrorCode());
        }
      }
      for (jitlink::Block* block : graph.blocks()) {
        for (const jitlink::Edge& edge : block->edges()) {
          if (edge.getKind() == jitlink::x86_64::Pointer64 || edge.getKind() == jitlink::x86_64::Pointer32 ||
              edge.getKind() == jitlink::x86_64::Pointer32Signed) {
            return llvm::make_error<llvm::StringError>("an absolute address in section " + block->getSection().getName().str(),
                                                       llvm::inconvertibleErrorCode());
          }
        }
      }
      return llvm::Error::success();
    });
    return llvm::Error::success();
  }

 private:
  void PlaceCodes(jitlink::LinkGraph& graph) {
    if (codes_.empty()) return;
    jitlink::Section& section = graph.createSection(".text.codes", static_cast<llvm::orc::MemProt>(kReadExecute));
    const std::vector<jitlink::Symbol*> externals(graph.external_symbols().begin(), graph.external_symbols().end());
    uint64_t place = 0;                                      // blocks are laid out in the order of what they say are their addresses
    for (const MachineCode& code : codes_) {
      for (jitlink::Symbol* symbol : externals) {
        if (symbol->getName() != code.name) continue;
        const llvm::ArrayRef<char> bytes(reinterpret_cast<const char*>(code.bytes.data()), code.bytes.size());
        jitlink::Block& block = graph.createContentBlock(section, bytes, ExecutorAddr(place += kAlignment), kAlignment, 0);
        graph.makeDefined(*symbol, block, code.entry, bytes.size() - code.entry, jitlink::Linkage::Strong, jitlink::Scope::Default, /*IsLive=*/false);
      }
    }
  }

  const std::vector<MachineCode>& codes_;
  ImageMemory& memory_;
  LinkResult& result_;
};

}  // namespace

Image LinkImage(llvm::StringRef object, const std::vector<MachineCode>& codes, const std::string& name) {
  auto graph = jitlink::createLinkGraphFromObject(llvm::MemoryBufferRef(object, name));
  if (!graph) throw InternalError(fmt::format("kernel {}: {}", name, llvm::toString(graph.takeError())));
  ImageMemory memory;
  LinkResult result;
  jitlink::link(std::move(*graph), std::make_unique<ImageContext>(codes, memory, result));
  if (!result.error.empty()) throw InternalError(fmt::format("kernel {} does not link: {}", name, result.error));
  return {std::move(memory.code), std::move(result.symbols)};
}

}  // namespace athanor
