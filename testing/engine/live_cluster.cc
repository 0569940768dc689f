#include "testing/engine/live_cluster.h"

#include <sys/wait.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>

#include "base/assert.h"
#include "model/json.h"
#include "testing/paths.h"

namespace holdfast::testing {
namespace {

std::string Variable(const char* name) {
  const char* const value = std::getenv(name);  // NOLINT(concurrency-mt-unsafe)
  return value != nullptr ? value : "";
}

}  // namespace

std::unique_ptr<LiveCluster> LiveCluster::StartSandbox(std::string& why_not) {
  return StartWith(std::unique_ptr<LiveCluster>(new LiveCluster("holdfast_sandbox")),
                   "--nodes 3 --resharding --json", why_not);
}

std::unique_ptr<LiveCluster> LiveCluster::StartReal(std::string& why_not) {
  const std::string program = Variable("HOLDFAST_TEST_QDRANT");
  if (program.empty()) {
    why_not = "HOLDFAST_TEST_QDRANT does not name a Qdrant server";
    return nullptr;
  }
  return StartWith(std::unique_ptr<LiveCluster>(new LiveCluster("holdfast_sandbox.realcluster")),
                   "--binary '" + program + "' --layout addresses --resharding --json", why_not);
}

std::unique_ptr<LiveCluster> LiveCluster::StartWith(std::unique_ptr<LiveCluster> cluster,
                                                    const std::string& arguments,
                                                    std::string& why_not) {
  const std::string python = Variable("HOLDFAST_PYTHON");
  if (python.empty() || ::access(python.c_str(), X_OK) != 0) {
    why_not = "HOLDFAST_PYTHON does not name the Python environment; run ./dev setup";
    return nullptr;
  }
  std::string output;
  if (!cluster->Run("up " + arguments, output)) {
    why_not = "the cluster does not start: " + output;
    return nullptr;
  }
  cluster->up_ = true;
  const auto said = json::Parse(output, "what the cluster said");
  if (!said.ok() || !said->contains("nodes")) {
    why_not = "the cluster says what nobody understands: " + output;
    return nullptr;
  }
  for (const json::Json& node : said->at("nodes")) {
    cluster->urls_.push_back(node.at("url").get<std::string>());
    cluster->numbers_.push_back(node.at("node").get<int>());
  }
  return cluster;
}

LiveCluster::~LiveCluster() {
  std::string output;
  if (up_ && !Run("down", output)) std::fprintf(stderr, "cluster: %s\n", output.c_str());
}

bool LiveCluster::Run(const std::string& command, std::string& output) const {
  const std::string line = "PYTHONPATH='" + (SourceDir() / "sandbox").string() +
                           "' PYTHONDONTWRITEBYTECODE=1 '" + Variable("HOLDFAST_PYTHON") + "' -m " +
                           module_ + " " + command + " --dir '" + folder_.path().string() +
                           "/cluster' 2>&1 </dev/null";
  std::FILE* const pipe = ::popen(line.c_str(), "re");
  HF_ASSERT(pipe != nullptr);
  output.clear();
  char buffer[4096];
  for (std::size_t got = 0; (got = std::fread(buffer, 1, sizeof buffer, pipe)) > 0;) {
    output.append(buffer, got);
  }
  return ::pclose(pipe) == 0;
}

std::string LiveCluster::NumberOf(const std::string& url) const {
  for (std::size_t i = 0; i < urls_.size(); ++i) {
    if (urls_[i] == url) return std::to_string(numbers_[i]);
  }
  HF_ASSERT(false);
}

void LiveCluster::Kill(const std::string& url) {
  std::string output;
  HF_ASSERT(Run("kill " + NumberOf(url), output));
}

void LiveCluster::Start(const std::string& url) {
  std::string output;
  HF_ASSERT(Run("start " + NumberOf(url), output));
}

}  // namespace holdfast::testing
