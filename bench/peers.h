#pragma once

#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "ops/graph.h"

namespace athanor::bench {

// What fragments are compared with: "eager" and "inductor", which is PyTorch as it is and under torch.compile. Throws Error for
// another name.
void CheckPeers(const std::vector<std::string>& peers);

// PyTorch in a process of its own (bench/peers/torch_peer.py), which computes only while it is asked to.
class PeerProcess {
 public:
  // `python`: an interpreter that has PyTorch; empty: that of the build's virtual environment, else python3. Throws Error naming
  // the interpreter where it can't be started or has no PyTorch.
  PeerProcess(const std::string& python, int threads);
  ~PeerProcess();
  PeerProcess(const PeerProcess&) = delete;
  PeerProcess& operator=(const PeerProcess&) = delete;

  // Prepares a fragment for a peer and runs it twice, which compiles it. Returns the number under which Run knows it.
  int Load(const Graph& forward, bool grad, const std::string& peer);
  // One run; milliseconds.
  double Run(int number);

 private:
  nlohmann::json Ask(const std::string& what, const nlohmann::json& question);
  void Start(const std::string& script);

  std::string python_;
  int pid_ = -1, socket_ = -1;
  std::string received_;  // behind the last answer
};

}  // namespace athanor::bench
