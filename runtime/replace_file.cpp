#include "runtime/replace_file.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstring>
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

}  // namespace

void ReplaceFile(const std::string& path, const std::function<void(std::ostream&)>& write) {
  const std::string partial = fmt::format("{}.partial.{}", path, getpid());
  errno = 0;
  std::ofstream file(partial, std::ios::binary | std::ios::trunc);
  if (file) write(file);
  file.close();
  if (file && Sync(partial) && std::rename(partial.c_str(), path.c_str()) == 0) return;
  const int reason = errno;
  std::remove(partial.c_str());
  Fail("{}: can't be written: {}", path, std::strerror(reason));
}

}  // namespace athanor
