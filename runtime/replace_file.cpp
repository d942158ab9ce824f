#include "runtime/replace_file.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <fstream>

#include "ops/error.h"

namespace athanor {
namespace {

bool Sync(const std::string& path) {
  const int fd = open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (fd < 0) return false;
  const bool synced = fsync(fd) == 0;
  const int reason = errno;
  close(fd);
  errno = reason;
  return synced;
}

// True when the file was opened and took everything; else errno says why.
bool Fill(const std::string& path, const std::function<void(std::ostream&)>& write) {
  errno = 0;
  std::ofstream file(path, std::ios::binary | std::ios::trunc);
  if (file) write(file);
  if (file) file.flush();
  const int reason = errno;                                  // closing again after a failure may change it
  const bool good = file.good();
  file.close();
  if (!good) errno = reason;
  return good && file.good();
}

}  // namespace

void ReplaceFile(const std::string& path, const std::function<void(std::ostream&)>& write) {
  std::error_code error;
  const auto status = std::filesystem::status(path, error);
  const bool special = std::filesystem::exists(status) && !std::filesystem::is_regular_file(status);
  const std::string filled = special ? path : fmt::format("{}.partial.{}", path, getpid());
  if (Fill(filled, write) && (special || (Sync(filled) && std::rename(filled.c_str(), path.c_str()) == 0))) return;
  const int reason = errno;
  if (!special) std::remove(filled.c_str());
  Fail("{}: can't be written: {}", path, reason != 0 ? std::strerror(reason) : "unknown reason");
}

}  // namespace athanor
