#include "testing/engine/harness.h"

#include <gtest/gtest.h>

#include <chrono>
#include <map>
#include <utility>

#include "base/assert.h"
#include "engine/qdrant/qdrant_engine.h"
#include "http/client.h"
#include "model/json.h"
#include "model/topology_json.h"
#include "testing/engine/live_cluster.h"
#include "testing/fake_clock.h"
#include "testing/scripted_engine.h"

namespace holdfast::testing {
namespace {

using json::Json;

class ScriptedHarness final : public EngineHarness {
 public:
  Engine& engine() override { return engine_; }
  Clock& clock() override { return clock_; }
  std::uint32_t peers() const override { return ScriptedOptions().peers; }
  void Upsert(const std::string& collection, const std::vector<TestPoint>& points,
              const std::optional<ShardKey>& key) override {
    for (const TestPoint& point : points) {
      engine_.Upsert(collection, point.id, {.vector = point.vector, .payload = point.payload}, key);
    }
  }
  void Delete(const std::string& collection, const std::vector<std::string>& ids,
              const std::optional<ShardKey>& key) override {
    for (const std::string& id : ids) engine_.Delete(collection, id, key);
  }
  void KillPeer(PeerId peer) override { engine_.KillPeer(peer); }
  void StartPeer(PeerId peer) override { engine_.StartPeer(peer); }

 private:
  FakeClock clock_;
  ScriptedEngine engine_{clock_};
};

/// The driver on a cluster of processes, which outlives it.
class LiveHarness final : public EngineHarness {
 public:
  explicit LiveHarness(LiveCluster& cluster) : cluster_(cluster) {
    auto http = HttpClient::Create(SystemClock(), {});
    HF_ASSERT(http.ok());
    http_ = *std::move(http);
    QdrantOptions options;
    options.name = "test";
    options.urls = cluster.urls();
    auto opened = OpenQdrant({}, std::move(options), SystemClock());
    if (!opened.ok()) ADD_FAILURE() << opened.error().ToString();
    HF_ASSERT(opened.ok());
    engine_ = *std::move(opened);
  }

  Engine& engine() override { return *engine_; }
  Clock& clock() override { return SystemClock(); }
  std::uint32_t peers() const override {
    return static_cast<std::uint32_t>(cluster_.urls().size());
  }

  void Upsert(const std::string& collection, const std::vector<TestPoint>& points,
              const std::optional<ShardKey>& key) override {
    Json list = Json::array();
    for (const TestPoint& point : points) {
      list.push_back({{"id", Json::parse(point.id)},
                      {"vector", point.vectors_json.empty() ? Json(point.vector)
                                                            : Json::parse(point.vectors_json)},
                      {"payload", Json::parse(point.payload)}});
    }
    Json body = {{"points", std::move(list)}};
    if (key) body["shard_key"] = ShardKeyJson(*key);
    Write(HttpMethod::kPut, collection, "", body);
  }
  void Delete(const std::string& collection, const std::vector<std::string>& ids,
              const std::optional<ShardKey>& key) override {
    Json list = Json::array();
    for (const std::string& id : ids) list.push_back(Json::parse(id));
    Json body = {{"points", std::move(list)}};
    if (key) body["shard_key"] = ShardKeyJson(*key);
    Write(HttpMethod::kPost, collection, "delete", body);
  }
  void KillPeer(PeerId peer) override {
    const auto topology = engine_->ReadTopology({});
    HF_ASSERT(topology.ok());
    for (const Peer& known : topology->peers) {
      // The same text without the path that a parsed address has.
      if (known.answers) urls_[known.id] = known.url.substr(0, known.url.find_last_not_of('/') + 1);
    }
    cluster_.Kill(urls_.at(peer));
  }
  void StartPeer(PeerId peer) override { cluster_.Start(urls_.at(peer)); }

 private:
  void Write(HttpMethod method, const std::string& collection, const std::string& call,
             const Json& body) {
    // A peer that was killed by the test is passed over.
    for (const std::string& text : cluster_.urls()) {
      HttpRequest request;
      request.method = method;
      request.url = *Url::Parse(text) / "collections" / collection / "points";
      if (!call.empty()) request.url = request.url / call;
      request.url = request.url.With("wait", "true");
      request.headers.Add("content-type", "application/json");
      request.body = json::Dump(body);
      const auto answer = http_->Send({}, request);
      if (!answer.ok()) continue;
      if (!answer->ok()) ADD_FAILURE() << answer->status << " " << answer->body;
      HF_ASSERT(answer->ok());
      return;
    }
    HF_ASSERT(false);
  }

  LiveCluster& cluster_;
  std::unique_ptr<HttpClient> http_;
  std::unique_ptr<Engine> engine_;
  std::map<PeerId, std::string> urls_;
};

/// Clusters are started with the first test that needs them and stopped after the last test.
class Clusters final : public ::testing::Environment {
 public:
  using Start = std::unique_ptr<LiveCluster> (*)(std::string&);
  struct Kept {
    std::unique_ptr<LiveCluster> cluster;
    std::string why_not;
    bool tried = false;
  };

  static std::unique_ptr<EngineHarness> Harness(const std::string& name, Start start,
                                                std::string& why_not) {
    Kept& kept = Map()[name];
    if (!std::exchange(kept.tried, true)) kept.cluster = start(kept.why_not);
    why_not = kept.why_not;
    if (kept.cluster == nullptr) return nullptr;
    return std::make_unique<LiveHarness>(*kept.cluster);
  }

  void TearDown() override { Map().clear(); }

 private:
  static std::map<std::string, Kept>& Map() {
    static std::map<std::string, Kept> clusters;
    return clusters;
  }
};

[[maybe_unused]] const ::testing::Environment* const kClusters =
    ::testing::AddGlobalTestEnvironment(new Clusters);  // GoogleTest owns it.

}  // namespace

std::unique_ptr<EngineHarness> MakeScriptedHarness(std::string& /*why_not*/) {
  return std::make_unique<ScriptedHarness>();
}

std::unique_ptr<EngineHarness> MakeSandboxHarness(std::string& why_not) {
  return Clusters::Harness("sandbox", &LiveCluster::StartSandbox, why_not);
}

std::unique_ptr<EngineHarness> MakeRealHarness(std::string& why_not) {
  return Clusters::Harness("real", &LiveCluster::StartReal, why_not);
}

}  // namespace holdfast::testing
