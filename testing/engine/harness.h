// What the contract suite of engines needs beside the engine: somebody who writes points and who
// kills and starts nodes.

#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <ostream>
#include <string>
#include <vector>

#include "base/clock.h"
#include "engine/engine.h"

namespace holdfast::testing {

struct TestPoint {
  /// JSON text.
  std::string id;
  std::vector<float> vector;
  /// A JSON object.
  std::string payload = "{}";
  /// Named, sparse and multivectors: JSON, instead of `vector`. Not on the simulated cluster.
  std::string vectors_json{};
};

/// One cluster with an engine for it. Calls of the cluster that fail end the test program: they are
/// not what is tested.
class EngineHarness {
 public:
  virtual ~EngineHarness() = default;
  virtual Engine& engine() = 0;
  virtual Clock& clock() = 0;
  virtual std::uint32_t peers() const = 0;
  /// Applied when it returns.
  virtual void Upsert(const std::string& collection, const std::vector<TestPoint>& points,
                      const std::optional<ShardKey>& key) = 0;
  virtual void Delete(const std::string& collection, const std::vector<std::string>& ids,
                      const std::optional<ShardKey>& key) = 0;
  virtual void KillPeer(PeerId peer) = 0;
  /// Returns when it answers.
  virtual void StartPeer(PeerId peer) = 0;
};

/// One way to have a cluster.
struct EngineUnderTest {
  std::string name;
  /// Nothing, with the reason, when it cannot be had on this machine: the tests are skipped then.
  std::function<std::unique_ptr<EngineHarness>(std::string& why_not)> make;
};

inline void PrintTo(const EngineUnderTest& engine, std::ostream* out) { *out << engine.name; }

/// The scripted engine on time of its own.
std::unique_ptr<EngineHarness> MakeScriptedHarness(std::string& why_not);
/// The Qdrant driver on the embedded cluster, started once for the program with the Python that
/// HOLDFAST_PYTHON names.
std::unique_ptr<EngineHarness> MakeSandboxHarness(std::string& why_not);
/// The Qdrant driver on three servers of the program that HOLDFAST_TEST_QDRANT names, started once.
std::unique_ptr<EngineHarness> MakeRealHarness(std::string& why_not);

}  // namespace holdfast::testing
