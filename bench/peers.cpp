#include "bench/peers.h"

#include <fmt/ranges.h>
#include <spawn.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <filesystem>

#include "bench/resources.h"
#include "ops/error.h"
#include "ops/fragment.h"

extern char** environ;

namespace athanor::bench {
namespace {

using Json = nlohmann::json;

constexpr std::array<std::string_view, 2> kPeers = {"eager", "inductor"};

// The virtual environment of scripts/setup, build/venv, lies beside the build folder that holds the program.
std::string FindPython() {
  std::error_code error;
  const std::filesystem::path program = std::filesystem::read_symlink("/proc/self/exe", error);
  const std::filesystem::path python = program.parent_path().parent_path() / "venv/bin/python";
  return std::filesystem::exists(python, error) ? python.string() : "python3";
}

}  // namespace

void CheckPeers(const std::vector<std::string>& peers) {
  for (const std::string& peer : peers) {
    if (std::find(kPeers.begin(), kPeers.end(), peer) == kPeers.end()) {
      Fail("--peers: '{}' is unknown, expected {} (PyTorch, whose products and convolutions on a CPU are MKL's and oneDNN's)",
           peer, fmt::join(kPeers, " or "));
    }
  }
}

PeerProcess::PeerProcess(const std::string& python, int threads) : python_(python.empty() ? FindPython() : python) {
  Start(ResourcePath("peers/torch_peer.py"));
  Ask("start", {{"threads", threads}});
}

void PeerProcess::Start(const std::string& script) {
  int ends[2];
  if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) != 0)
    Fail("--peers: no connection to a process: {}", std::strerror(errno));
  socket_ = ends[0];
  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_adddup2(&actions, ends[1], STDIN_FILENO);
  posix_spawn_file_actions_adddup2(&actions, ends[1], STDOUT_FILENO);
  std::string program = python_, quiet = "-Wignore", no_files = "-B", path = script;
  char* arguments[] = {program.data(), quiet.data(), no_files.data(), path.data(), nullptr};
  const int error = posix_spawnp(&pid_, program.c_str(), &actions, nullptr, arguments, environ);
  posix_spawn_file_actions_destroy(&actions);
  close(ends[1]);
  if (error == 0) return;
  pid_ = -1;
  close(socket_);
  Fail("--peers: the Python {} can't be started: {}", python_, std::strerror(error));
}

// The script ends when its input does.
PeerProcess::~PeerProcess() {
  if (socket_ >= 0) close(socket_);
  if (pid_ > 0) waitpid(pid_, nullptr, 0);
}

int PeerProcess::Load(const Graph& forward, bool grad, const std::string& peer) {
  const std::string what = fmt::format("{} of {}", peer, forward.name());
  return Ask(what, {{"fragment", Json::parse(WriteFragment(forward))}, {"grad", grad}, {"peer", peer}}).value("number", 0);
}

double PeerProcess::Run(int number) { return Ask("run", {{"run", number}}).value("ms", 0.0); }

Json PeerProcess::Ask(const std::string& what, const Json& question) {
  const std::string text = question.dump() + "\n";
  for (size_t sent = 0; sent < text.size();) {
    const ssize_t now = send(socket_, text.data() + sent, text.size() - sent, MSG_NOSIGNAL);
    if (now < 0 && errno != EINTR) break;  // it has ended: the answer will be missing
    if (now > 0) sent += static_cast<size_t>(now);
  }
  size_t end;
  while ((end = received_.find('\n')) == std::string::npos) {
    char part[4096];
    const ssize_t got = read(socket_, part, sizeof part);
    if (got < 0 && errno == EINTR) continue;
    if (got <= 0) Fail("--peers: {}: the Python {} has ended without an answer; --peer-python names another", what, python_);
    received_.append(part, static_cast<size_t>(got));
  }
  const Json answer = Json::parse(received_.substr(0, end), nullptr, false);
  received_.erase(0, end + 1);
  if (!answer.is_object() || answer.contains("error")) {
    Fail("--peers: {}: {} ({}; --peer-python names another)", what, answer.is_object() ? answer.value("error", "") : "no answer",
         python_);
  }
  return answer;
}

}  // namespace athanor::bench
