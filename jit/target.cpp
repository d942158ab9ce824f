#include "jit/target.h"

#include <cpuinfo.h>
#include <unistd.h>

#include <algorithm>
#include <utility>

#include "ops/error.h"

namespace athanor {
namespace {

struct Feature {
  const char* name;
  bool present;
};

// What generated code may use on either instruction set; the operating system's support for the registers is included.
std::vector<Feature> Avx2Features() {
  return {{"avx", cpuinfo_has_x86_avx()},   {"avx2", cpuinfo_has_x86_avx2()}, {"fma", cpuinfo_has_x86_fma3()},
          {"f16c", cpuinfo_has_x86_f16c()}, {"bmi", cpuinfo_has_x86_bmi()},   {"bmi2", cpuinfo_has_x86_bmi2()}};
}

std::vector<Feature> Avx512Features() {
  return {{"avx512f", cpuinfo_has_x86_avx512f()},
          {"avx512bw", cpuinfo_has_x86_avx512bw()},
          {"avx512dq", cpuinfo_has_x86_avx512dq()},
          {"avx512vl", cpuinfo_has_x86_avx512vl()}};
}

// What AVX-512 code uses where it is there, and does without where not.
std::vector<Feature> OptionalFeatures() { return {{"avx512bf16", cpuinfo_has_x86_avx512bf16()}}; }

std::vector<std::string> Names(const std::vector<Feature>& features, bool present) {
  std::vector<std::string> names;
  for (const Feature& feature : features) {
    if (feature.present == present) names.push_back(feature.name);
  }
  return names;
}

std::string Join(const std::vector<std::string>& names) {
  std::string text;
  for (const std::string& name : names) text += (text.empty() ? "" : ", ") + name;
  return text;
}

int64_t CacheBytes(uint32_t count, const struct cpuinfo_cache* caches, int64_t fallback) {
  return count > 0 && caches != nullptr && caches[0].size > 0 ? caches[0].size : fallback;
}

}  // namespace

bool CpuTarget::Has(std::string_view feature) const { return std::find(features.begin(), features.end(), feature) != features.end(); }

std::string_view Name(Isa isa) { return isa == Isa::kAvx512 ? "avx512" : "avx2"; }

CpuTarget DetectCpu() {
  if (!cpuinfo_initialize()) Fail("the processor can't be identified");
  const std::vector<std::string> missing = Names(Avx2Features(), false);
  if (!missing.empty()) Fail("this processor lacks {}: Athanor needs AVX2 with FMA, or AVX-512", Join(missing));
  CpuTarget cpu;
  cpu.isa = Names(Avx512Features(), false).empty() ? Isa::kAvx512 : Isa::kAvx2;
  cpu.features = Names(Avx2Features(), true);
  if (cpu.isa == Isa::kAvx512) {
    for (const std::vector<Feature>& features : {Avx512Features(), OptionalFeatures()}) {
      for (std::string& name : Names(features, true)) cpu.features.push_back(std::move(name));
    }
  }
  std::sort(cpu.features.begin(), cpu.features.end());
  cpu.model = cpuinfo_get_packages_count() > 0 ? cpuinfo_get_package(0)->name : "x86-64";
  cpu.l1_bytes = CacheBytes(cpuinfo_get_l1d_caches_count(), cpuinfo_get_l1d_caches(), cpu.l1_bytes);
  cpu.l2_bytes = CacheBytes(cpuinfo_get_l2_caches_count(), cpuinfo_get_l2_caches(), cpu.l2_bytes);
  cpu.l3_bytes = CacheBytes(cpuinfo_get_l3_caches_count(), cpuinfo_get_l3_caches(), cpu.l3_bytes);
  cpu.cores = std::max<int>(1, static_cast<int>(sysconf(_SC_NPROCESSORS_ONLN)));
  return cpu;
}

CpuTarget Restrict(const CpuTarget& cpu, Isa isa) {
  if (isa == Isa::kAvx512 && cpu.isa != Isa::kAvx512) Fail("this processor has no AVX-512");
  CpuTarget restricted = cpu;
  restricted.isa = isa;
  if (isa == Isa::kAvx2) {
    std::erase_if(restricted.features, [](const std::string& name) { return name.starts_with("avx512"); });
  }
  return restricted;
}

std::vector<CpuTarget> AllTargets() {
  std::vector<CpuTarget> targets;
  CpuTarget cpu;
  const auto add = [&](Isa isa, const std::vector<Feature>& features) {
    cpu.isa = isa;
    for (const Feature& feature : features) cpu.features.push_back(feature.name);
    std::sort(cpu.features.begin(), cpu.features.end());
    targets.push_back(cpu);
  };
  add(Isa::kAvx2, Avx2Features());
  add(Isa::kAvx512, Avx512Features());
  add(Isa::kAvx512, OptionalFeatures());
  return targets;
}

}  // namespace athanor
