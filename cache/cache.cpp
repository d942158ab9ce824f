#include "cache/cache.h"

#include <dirent.h>
#include <fcntl.h>
#include <fmt/core.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <ctime>
#include <deque>
#include <mutex>
#include <random>
#include <set>
#include <utility>

namespace athanor {
namespace {

constexpr std::string_view kEntrySuffix = ".v1", kQuarantineSuffix = ".bad", kTemporaryPrefix = "tmp-";
constexpr int64_t kLeftoverSeconds = 3600;                   // no writer takes this long
// When an entry was used is kept as the time of its file, to this accuracy: reading seldom writes.
constexpr int64_t kUsedSeconds = 600, kInUseSeconds = 3600;

class FileDescriptor {
 public:
  explicit FileDescriptor(int fd) : fd_(fd) {}
  ~FileDescriptor() {
    if (fd_ >= 0) close(fd_);
  }
  FileDescriptor(const FileDescriptor&) = delete;
  FileDescriptor& operator=(const FileDescriptor&) = delete;
  int get() const { return fd_; }
  int Release() { return std::exchange(fd_, -1); }

 private:
  int fd_;
};

std::string FileName(const CacheKey& key) {
  return fmt::format("{}-{}{}", key.kind(), key.digest(), kEntrySuffix);
}

// "KIND-DIGEST" followed by `suffix`.
bool IsEntryName(std::string_view name, std::string_view suffix) {
  if (!name.ends_with(suffix)) return false;
  name.remove_suffix(suffix.size());
  const size_t dash = name.find('-');
  return dash != std::string_view::npos && IsKind(name.substr(0, dash)) && name.size() == dash + 1 + 32 &&
         name.find_first_not_of("0123456789abcdef", dash + 1) == std::string_view::npos;
}

bool IsOurName(std::string_view name) {
  return IsEntryName(name, kEntrySuffix) || IsEntryName(name, kQuarantineSuffix) || name.starts_with(kTemporaryPrefix);
}

// Creates `path` and its parents, each with mode 0700. Returns 0 or errno.
int MakeDirectories(const std::string& path) {
  for (size_t end = path.find('/', 1);; end = path.find('/', end + 1)) {
    const bool last = end == std::string::npos;
    const std::string part = path.substr(0, end);
    if (mkdir(part.c_str(), 0700) != 0 && errno != EEXIST) {
      const int error = errno;
      struct stat status;                                    // an existing parent may answer EROFS or EACCES
      if (last || stat(part.c_str(), &status) != 0) return error;
    }
    if (last) return 0;
  }
}

// Empty when the open directory is ours alone.
std::string DirectoryFault(int fd) {
  struct stat status;
  if (fstat(fd, &status) != 0) return std::strerror(errno);
  if (status.st_uid != geteuid()) return fmt::format("owned by user {}, not by user {}", status.st_uid, geteuid());
  if ((status.st_mode & 022) != 0) return fmt::format("writable by group or others (mode {:04o})", status.st_mode & 07777);
  return "";
}

// Writes all of `bytes`. Returns 0 or errno.
int WriteAll(int fd, std::span<const std::byte> bytes) {
  while (!bytes.empty()) {
    const ssize_t written = write(fd, bytes.data(), bytes.size());
    if (written < 0 && errno == EINTR) continue;
    if (written <= 0) return written < 0 ? errno : ENOSPC;
    bytes = bytes.subspan(written);
  }
  return 0;
}

// Reads until `bytes` is full or the file ends; returns how many bytes, or -1.
ssize_t ReadAll(int fd, std::span<std::byte> bytes) {
  size_t done = 0;
  while (done < bytes.size()) {
    const ssize_t got = read(fd, bytes.data() + done, bytes.size() - done);
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return -1;
    if (got == 0) break;
    done += got;
  }
  return static_cast<ssize_t>(done);
}

// A name that no other writer, on any machine, uses now.
std::string TemporaryName() {
  std::random_device random;
  return fmt::format("{}{:08x}{:08x}-{}", kTemporaryPrefix, random(), random(), getpid());
}

// Whether this process meets a trouble of a cache for the first time.
bool FirstTime(const std::string& directory, std::string_view trouble) {
  static std::mutex mutex;
  static std::set<std::string> met;
  const std::lock_guard lock(mutex);
  return met.insert(fmt::format("{} {}", trouble, directory)).second;
}

}  // namespace

struct Cache::ReadResult {
  enum class State { kFound, kAbsent, kUnreadable, kCorrupt };
  State state = State::kAbsent;
  std::optional<CacheEntry> entry;
  std::string fault;
  struct stat status = {};
};

std::unique_ptr<Cache> Cache::Open(const std::string& directory, Warn warn) {
  if (directory.empty()) return std::unique_ptr<Cache>(new Cache(directory, -1, std::move(warn)));
  const int error = MakeDirectories(directory);
  FileDescriptor fd(open(directory.c_str(), O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
  if (fd.get() < 0) {
    const int open_error = errno;
    struct stat status;
    if (lstat(directory.c_str(), &status) == 0 && !S_ISDIR(status.st_mode)) {
      throw CacheError(fmt::format("cache directory {}: it is {}, expected a directory", directory,
                                   S_ISLNK(status.st_mode) ? "a symbolic link" : "not a directory"));
    }
    if (FirstTime(directory, "unusable")) {
      warn(fmt::format("cache directory {}: {}; running uncached", directory, std::strerror(error != 0 ? error : open_error)));
    }
    return std::unique_ptr<Cache>(new Cache(directory, -1, std::move(warn)));
  }
  if (const std::string fault = DirectoryFault(fd.get()); !fault.empty()) {
    throw CacheError(fmt::format("cache directory {}: it is {}; it must belong to this user alone (chmod 700)", directory, fault));
  }
  std::unique_ptr<Cache> cache(new Cache(directory, fd.Release(), std::move(warn)));
  cache->RemoveLeftovers();
  return cache;
}

Cache::~Cache() {
  if (fd_ >= 0) close(fd_);
}

Cache::ReadResult Cache::Read(const std::string& name) const {
  using State = ReadResult::State;
  ReadResult result;
  const auto stop = [&](State state, std::string fault) {
    result.state = state;
    result.fault = std::move(fault);
    return std::move(result);
  };
  // O_NONBLOCK: opening a planted FIFO must not hang.
  const FileDescriptor fd(openat(fd_, name.c_str(), O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC));
  if (fd.get() < 0) {
    if (errno == ENOENT || errno == ESTALE) return stop(State::kAbsent, "");
    if (errno == ELOOP || errno == ENXIO) return stop(State::kCorrupt, "not a regular file");
    return stop(State::kUnreadable, std::strerror(errno));
  }
  if (fstat(fd.get(), &result.status) != 0) return stop(State::kUnreadable, std::strerror(errno));
  const struct stat& status = result.status;
  if (!S_ISREG(status.st_mode)) return stop(State::kCorrupt, "not a regular file");
  if (status.st_uid != geteuid() || (status.st_mode & 022) != 0) return stop(State::kCorrupt, "others may have written it");
  if (status.st_size > kMaxEntryBytes) return stop(State::kCorrupt, fmt::format("{} bytes, too large", status.st_size));

  std::vector<std::byte> bytes(status.st_size);
  const ssize_t got = ReadAll(fd.get(), bytes);
  if (got < 0) return stop(errno == ESTALE ? State::kAbsent : State::kUnreadable, std::strerror(errno));
  auto decoded = DecodeEntry(std::span(bytes).first(got));
  if (auto* fault = std::get_if<std::string>(&decoded)) return stop(State::kCorrupt, std::move(*fault));
  auto& entry = std::get<CacheEntry>(decoded);
  if (FileName(entry.key) != name) return stop(State::kCorrupt, "the key inside belongs to another file name");
  result.entry = std::move(entry);
  return stop(State::kFound, "");
}

std::optional<std::vector<std::byte>> Cache::Get(const CacheKey& key) {
  if (fd_ < 0) return std::nullopt;
  const std::string name = FileName(key);
  ReadResult read = Read(name);
  if (read.state == ReadResult::State::kAbsent) return std::nullopt;
  if (read.state == ReadResult::State::kFound && read.entry->key == key) {
    MarkUsed(name, read.status.st_mtime);
    return std::move(read.entry->payload);
  }
  // Another key under this name would be a collision of digests: a miss, and no fault of the entry.
  if (read.state == ReadResult::State::kFound) return std::nullopt;
  if (FirstTime(directory_, "fault")) {
    warn_(fmt::format("cache entry {}/{}: {}; treated as a miss (`athanor cache verify` checks all entries)", directory_, name,
                      read.fault));
  }
  if (read.state == ReadResult::State::kCorrupt) {
    struct stat now;                                         // leave it when a writer has replaced it meanwhile
    if (fstatat(fd_, name.c_str(), &now, AT_SYMLINK_NOFOLLOW) == 0 &&
        (read.status.st_ino == 0 || now.st_ino == read.status.st_ino)) {
      Quarantine(name);
    }
  }
  return std::nullopt;
}

bool Cache::Put(const CacheKey& key, std::span<const std::byte> payload) {
  const std::pair<std::string, std::vector<std::byte>> file{FileName(key), EncodeEntry(key, payload)};
  return PutEncoded(std::span(&file, 1));
}

bool Cache::PutAll(std::span<const NewEntry> entries) {
  std::vector<std::pair<std::string, std::vector<std::byte>>> files;
  for (const NewEntry& entry : entries) files.emplace_back(FileName(entry.key), EncodeEntry(entry.key, entry.payload));
  return PutEncoded(files);
}

// All are written, then all waited for: file systems that keep a journal then write most of it once. A process that may open no more files stores those
// that it has, then the rest.
bool Cache::PutEncoded(std::span<const std::pair<std::string, std::vector<std::byte>>> files) {
  if (fd_ < 0 || !writable_) return false;
  struct Written {
    Written(const std::string& name, std::string temporary, int fd) : name(name), temporary(std::move(temporary)), fd(fd) {}

    const std::string& name;
    const std::string temporary;
    const FileDescriptor fd;
  };
  std::deque<Written> written;
  int error = 0;
  bool all = true;
  size_t taken = 0;
  for (; taken < files.size(); ++taken) {
    const auto& [name, bytes] = files[taken];
    if (static_cast<int64_t>(bytes.size()) > kMaxEntryBytes) {
      all = false;
      continue;
    }
    std::string temporary = TemporaryName();
    const int fd = openat(fd_, temporary.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
    if (fd < 0) {
      if (written.empty()) error = errno;
      break;
    }
    written.emplace_back(name, std::move(temporary), fd);
    if ((error = WriteAll(fd, bytes)) != 0) {
      unlinkat(fd_, written.back().temporary.c_str(), 0);
      written.pop_back();
      break;
    }
    sync_file_range(fd, 0, 0, SYNC_FILE_RANGE_WRITE);        // starts it; where that is not possible, fsync does all
  }
  size_t stored = 0;
  for (; stored < written.size(); ++stored) {
    const auto& [name, temporary, fd] = written[stored];
    if (fsync(fd.get()) == 0 && renameat(fd_, temporary.c_str(), fd_, name.c_str()) == 0) continue;
    error = errno;
    break;
  }
  for (size_t i = stored; i < written.size(); ++i) unlinkat(fd_, written[i].temporary.c_str(), 0);
  if (stored > 0) fsync(fd_);                                // entries are whole either way: at worst their names are lost in a power cut
  if (error != 0) {
    DisableWriting(error);
    return false;
  }
  written.clear();
  return (taken == files.size() || PutEncoded(files.subspan(taken))) && all;
}

void Cache::DisableWriting(int error) {
  if (writable_.exchange(false) && FirstTime(directory_, "unwritable")) {
    warn_(fmt::format("cache directory {}: cannot be written: {}; running uncached", directory_, std::strerror(error)));
  }
}

void Cache::MarkUsed(const std::string& name, int64_t used) const {
  if (used + kUsedSeconds > time(nullptr)) return;
  const timespec now[] = {{0, UTIME_OMIT}, {0, UTIME_NOW}};
  utimensat(fd_, name.c_str(), now, AT_SYMLINK_NOFOLLOW);    // where it can't be marked, nobody can remove it either
}

void Cache::Quarantine(const std::string& name) {
  if (fd_ < 0 || !IsEntryName(name, kEntrySuffix)) return;
  const std::string aside = name.substr(0, name.size() - kEntrySuffix.size()) + std::string(kQuarantineSuffix);
  renameat(fd_, name.c_str(), fd_, aside.c_str());           // on a read-only disk it stays, and stays a miss
}

std::vector<std::string> Cache::Names(const std::function<bool(std::string_view)>& wanted) const {
  std::vector<std::string> names;
  if (fd_ < 0) return names;
  DIR* stream = fdopendir(openat(fd_, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (stream == nullptr) return names;
  while (const dirent* item = readdir(stream)) {
    if (wanted(item->d_name)) names.emplace_back(item->d_name);
  }
  closedir(stream);
  std::sort(names.begin(), names.end());
  return names;
}

void Cache::RemoveLeftovers() {
  for (const std::string& name : Names([](std::string_view n) { return n.starts_with(kTemporaryPrefix); })) {
    struct stat status;
    if (fstatat(fd_, name.c_str(), &status, AT_SYMLINK_NOFOLLOW) == 0 && status.st_mtime + kLeftoverSeconds < time(nullptr)) {
      unlinkat(fd_, name.c_str(), 0);
    }
  }
}

std::optional<Cache::Info> Cache::Find(const std::string& name) const {
  if (fd_ < 0 || !IsEntryName(name, kEntrySuffix)) return std::nullopt;
  ReadResult read = Read(name);
  if (read.state == ReadResult::State::kAbsent) return std::nullopt;
  return Info{name, read.status.st_size, read.status.st_mtime, std::move(read.entry), std::move(read.fault)};
}

void Cache::ForEach(const std::function<void(const Info&)>& visit) const {
  for (const std::string& name : Names([](std::string_view n) { return IsEntryName(n, kEntrySuffix); })) {
    if (const std::optional<Info> info = Find(name)) visit(*info);  // else another process removed it
  }
}

// False: another process was faster.
bool Cache::Remove(const std::string& name) const {
  if (unlinkat(fd_, name.c_str(), 0) == 0) return true;
  if (errno == ENOENT) return false;
  throw CacheError(fmt::format("cache directory {}: cannot remove {}: {}", directory_, name, std::strerror(errno)));
}

int Cache::Clear() {
  int removed = 0;
  for (const std::string& name : Names(IsOurName)) removed += Remove(name);
  return removed;
}

Cache::Eviction Cache::Evict(int64_t max_bytes) {
  struct File {
    bool entry;
    int64_t used, bytes;
    std::string name;
    auto operator<=>(const File&) const = default;
  };
  const auto look = [this](const std::string& name) -> std::optional<File> {
    struct stat status;
    if (fstatat(fd_, name.c_str(), &status, AT_SYMLINK_NOFOLLOW) != 0) return std::nullopt;
    return File{IsEntryName(name, kEntrySuffix), status.st_mtime, status.st_size, name};
  };
  std::vector<File> files;
  Eviction result;
  for (const std::string& name : Names([](std::string_view n) { return IsEntryName(n, kEntrySuffix) || IsEntryName(n, kQuarantineSuffix); })) {
    if (auto file = look(name)) files.push_back(*std::move(file));
  }
  for (const File& file : files) ++result.kept, result.kept_bytes += file.bytes;
  std::sort(files.begin(), files.end());
  for (const File& file : files) {
    const auto now = look(file.name);                        // a reader may have marked it, a writer replaced it
    const bool in_use = now && now->entry && now->used + kInUseSeconds > time(nullptr);
    if (in_use) result.in_use_bytes += file.bytes;
    if (in_use || result.kept_bytes <= max_bytes) continue;
    if (now && Remove(file.name)) ++result.removed, result.removed_bytes += file.bytes;
    --result.kept, result.kept_bytes -= file.bytes;
  }
  return result;
}

std::vector<CacheKey> Cache::Keys(std::string_view kind) const {
  std::vector<CacheKey> keys;
  const std::string prefix = fmt::format("{}-", kind);
  for (const std::string& name : Names([&](std::string_view n) { return n.starts_with(prefix) && IsEntryName(n, kEntrySuffix); })) {
    ReadResult read = Read(name);
    if (read.entry) keys.push_back(std::move(read.entry->key));
  }
  return keys;
}

}  // namespace athanor
