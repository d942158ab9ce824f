#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

#include "cache/entry.h"
#include "cache/key.h"

namespace athanor {

// A cache directory that must not be used, or that an explicit request (Clear) could not be carried out on.
class CacheError : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

// Byte strings remembered on disk under keys. Knows nothing of graphs or kernels. Safe for any number of threads and
// processes on one directory, on a network file system too: an entry is one self-contained file that appears by rename after
// it is on disk, and is never changed afterwards. There are no locks.
//
// Nothing that lies in the directory can make a reader fail: an entry that is not exactly what Put wrote is a miss and is
// moved aside ("quarantined"); a disk that can't be written means running uncached. Each of the two gives one warning in a process.
// The owner of the directory is trusted: entries hold machine code, and a checksum is no signature.
class Cache {
 public:
  using Warn = std::function<void(const std::string&)>;

  // Creates `directory` with mode 0700 when absent. Throws CacheError when it is a symbolic link or no directory, is not owned
  // by the effective user, or is writable by group or others. Where it can't be created or opened for another reason
  // (a read-only disk), warns and returns a cache that holds nothing. An empty `directory` is such a cache without a warning.
  static std::unique_ptr<Cache> Open(const std::string& directory, Warn warn);
  ~Cache();
  Cache(const Cache&) = delete;
  Cache& operator=(const Cache&) = delete;

  const std::string& directory() const { return directory_; }
  // False: it holds nothing and keeps nothing, see Open.
  bool usable() const { return fd_ >= 0; }
  // False: a Put failed, or would.
  bool writable() const { return usable() && writable_; }

  // The payload, or nothing: absent or unusable. Marks the entry as used now, for Evict.
  std::optional<std::vector<std::byte>> Get(const CacheKey& key);
  // Stores an entry durably, replacing one of the same key. False when the cache can't be written (warned once).
  bool Put(const CacheKey& key, std::span<const std::byte> payload);
  struct NewEntry {
    CacheKey key;
    std::vector<std::byte> payload;
  };
  // The same for several, in order: they go to the disk together, which takes a busy one a tenth of the time. False where one was not stored.
  bool PutAll(std::span<const NewEntry> entries);

  // The keys of all usable entries of one kind. Reads and checks each in full.
  std::vector<CacheKey> Keys(std::string_view kind) const;

  struct Info {
    std::string name;                                        // of the file: "KIND-DIGEST.v1"
    int64_t bytes = 0;                                       // of the file
    int64_t used = 0;                                        // when it was last used or written: seconds since 1970, to ten minutes
    std::optional<CacheEntry> entry;                         // absent: unusable, see `fault`
    std::string fault;
  };
  // Calls `visit` for every entry, sorted by name. Reads and checks each one in full; moves nothing.
  void ForEach(const std::function<void(const Info&)>& visit) const;
  // The same of the entry of one file, or nothing where there is none.
  std::optional<Info> Find(const std::string& name) const;
  // Moves an entry that ForEach found unusable aside.
  void Quarantine(const std::string& name);
  // Removes all entries, quarantined ones and leftovers of killed writers; returns how many files. Throws CacheError when one
  // can't be removed.
  int Clear();

  struct Eviction {
    int64_t removed = 0, removed_bytes = 0;                  // files
    int64_t kept = 0, kept_bytes = 0;
    int64_t in_use_bytes = 0;                                // of those kept: not to be removed, even beyond the cap
  };
  // Removes files until no more than `max_bytes` are left: quarantined ones, then the entries that were not used for the longest time.
  // An entry that was used or written within the last hour is in use and stays. Throws CacheError when one can't be removed.
  Eviction Evict(int64_t max_bytes);

 private:
  struct ReadResult;
  Cache(std::string directory, int fd, Warn warn) : directory_(std::move(directory)), fd_(fd), warn_(std::move(warn)) {}
  ReadResult Read(const std::string& name) const;
  std::vector<std::string> Names(const std::function<bool(std::string_view)>& wanted) const;
  void RemoveLeftovers();
  void MarkUsed(const std::string& name, int64_t used) const;
  bool Remove(const std::string& name) const;
  bool PutEncoded(std::span<const std::pair<std::string, std::vector<std::byte>>> files);
  void DisableWriting(int error);

  std::string directory_;
  int fd_ = -1;                                              // of the directory; -1: holds nothing
  Warn warn_;
  std::atomic<bool> writable_{true};
};

}  // namespace athanor
