#pragma once

#include <optional>
#include <string>

#include "jit/machine_code.h"
#include "jit/module.h"
#include "jit/routines.h"
#include "jit/target.h"

namespace athanor {

// Routines (jit/routines.h) that were compiled when the library was built, for every instruction set, so that no process has to: they would take a
// tenth to a half of the time in which a network's kernels are compiled. A file next to the compiler plugin, an Image in which each routine has
// three symbols. What it lacks, of other networks than those it was made from, is compiled as any kernel.
class RoutineArchive {
 public:
  RoutineArchive() = default;
  // Throws Error where `image` is not such an archive.
  explicit RoutineArchive(Image image);

  // Of a routine and all that it may be made of, compiler and vocabulary: an archive is never out of date, it lacks what has changed since.
  static std::string Key(const Routine& routine, const CpuTarget& cpu);
  bool Has(const std::string& key) const { return image_.symbols.contains(key); }
  void Add(const std::string& key, const MachineCode& code);
  std::optional<MachineCode> Find(const std::string& key, const std::string& name) const;  // as a function called `name`
  const Image& image() const { return image_; }
  size_t size() const { return image_.symbols.size() / 3; }

 private:
  Image image_;
};

// The archive of this library, read from its file at the first call of the process; an empty one where there is no file.
// Throws Error that names the file where that is damaged.
const RoutineArchive& InstalledRoutines();
// Where it lies.
std::string RoutineArchivePath();

}  // namespace athanor
