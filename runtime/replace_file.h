#pragma once

#include <functional>
#include <ostream>
#include <string>

namespace athanor {

// Writes `path` as a whole: `write` fills a file beside it, which takes its name once it is on the disk. Whatever happens, a full disk or a crash, a reader
// sees the old contents or the new ones, and a failure leaves nothing behind. What exists and is no regular file (a pipe, /dev/stdout) is written as it is.
// Throws Error naming `path` and the reason.
void ReplaceFile(const std::string& path, const std::function<void(std::ostream&)>& write);

}  // namespace athanor
