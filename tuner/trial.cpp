#include "tuner/trial.h"

#include <signal.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cmath>
#include <cstring>

#include "ops/error.h"

namespace athanor {
namespace {

// Only async-signal-safe calls from here on.
[[noreturn]] void RunAlone(const std::function<void()>& run, double cpu_seconds, volatile char* finished) {
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  for (int number : {SIGSEGV, SIGBUS, SIGILL, SIGFPE, SIGTRAP, SIGABRT, SIGPROF}) signal(number, SIG_DFL);  // not the host's handlers
  sigset_t none;
  sigemptyset(&none);
  sigprocmask(SIG_SETMASK, &none, nullptr);
  const rlimit no_core = {0, 0};
  setrlimit(RLIMIT_CORE, &no_core);
  const double whole = std::floor(cpu_seconds);
  const itimerval limit = {{0, 0}, {static_cast<time_t>(whole), static_cast<suseconds_t>((cpu_seconds - whole) * 1e6) + 1}};
  setitimer(ITIMER_PROF, &limit, nullptr);
  run();
  *finished = 1;
  _exit(0);
}

}  // namespace

SharedBuffer::SharedBuffer(int64_t bytes) : bytes_(bytes) {
  const int64_t page = sysconf(_SC_PAGESIZE), inside = (bytes + page) / page * page;
  mapped_ = inside + 2 * page;
  void* base = mmap(nullptr, mapped_, PROT_NONE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  if (base == MAP_FAILED) Fail("tuning: {} bytes of shared memory: {}", mapped_, std::strerror(errno));
  data_ = static_cast<char*>(base) + page;
  if (mprotect(data_, inside, PROT_READ | PROT_WRITE) != 0) {
    const int error = errno;
    munmap(base, mapped_);
    Fail("tuning: {} bytes of shared memory: {}", mapped_, std::strerror(error));
  }
}

SharedBuffer::~SharedBuffer() { munmap(data_ - sysconf(_SC_PAGESIZE), mapped_); }

std::string Try(const std::function<void()>& run, double cpu_seconds) {
  const SharedBuffer finished(1);
  const pid_t child = _Fork();                               // without the host's fork handlers, which may lock or allocate
  if (child < 0) return fmt::format("no process for its trial: {}", std::strerror(errno));
  if (child == 0) RunAlone(run, cpu_seconds, finished.data());
  int status = 0;
  pid_t waited;
  do {
    waited = waitpid(child, &status, 0);
  } while (waited < 0 && errno == EINTR);
  if (finished.data()[0] == 1) return "";                    // a host that reaps all its children may have taken the status
  if (waited < 0 || !WIFSIGNALED(status)) return "ended early";
  if (WTERMSIG(status) == SIGPROF) return fmt::format("hung: more than {:.1f} s of processor time", cpu_seconds);
  return fmt::format("crashed: {}", strsignal(WTERMSIG(status)));
}

}  // namespace athanor
