// A cluster of processes for tests: the embedded sandbox or real servers, started and stopped
// through the commands of sandbox/holdfast_sandbox.

#pragma once

#include <memory>
#include <string>
#include <vector>

#include "testing/temp_folder.h"

namespace holdfast::testing {

/// Three nodes on loopback from construction to destruction.
class LiveCluster {
 public:
  /// Nothing, with the reason, without Python (HOLDFAST_PYTHON) or when the nodes do not start.
  static std::unique_ptr<LiveCluster> StartSandbox(std::string& why_not);
  /// Likewise, and without HOLDFAST_TEST_QDRANT, which names the server's program. On the addresses
  /// 127.0.0.1 to 127.0.0.3 with one port, as pods in Kubernetes are.
  static std::unique_ptr<LiveCluster> StartReal(std::string& why_not);
  ~LiveCluster();
  LiveCluster(const LiveCluster&) = delete;
  LiveCluster& operator=(const LiveCluster&) = delete;

  const std::vector<std::string>& urls() const noexcept { return urls_; }
  /// Kills and starts the node that listens at `url`. What does not work ends the program.
  void Kill(const std::string& url);
  void Start(const std::string& url);

 private:
  explicit LiveCluster(std::string module) : module_(std::move(module)) {}

  static std::unique_ptr<LiveCluster> StartWith(std::unique_ptr<LiveCluster> cluster,
                                                const std::string& arguments, std::string& why_not);
  /// Runs one command; its standard output, or nothing with what it said in `problem`.
  bool Run(const std::string& command, std::string& output) const;
  std::string NumberOf(const std::string& url) const;

  TempFolder folder_;
  const std::string module_;
  bool up_ = false;
  std::vector<std::string> urls_;
  /// What the commands call the nodes, in the order of urls_.
  std::vector<int> numbers_;
};

}  // namespace holdfast::testing
