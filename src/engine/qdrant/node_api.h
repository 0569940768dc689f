// Requests to single nodes: keys, timeouts, answers. For .cc files only.

#pragma once

#include <memory>
#include <optional>
#include <string>

#include "base/clock.h"
#include "base/result.h"
#include "base/secret.h"
#include "engine/qdrant/answer.h"
#include "http/client.h"
#include "http/message.h"
#include "model/json.h"

namespace holdfast::qdrant {

/// What a request is for, and with that which key goes with it (reference 0.2).
enum class Right {
  /// Topology, counts, points: global r.
  kRead,
  /// Streams and stored snapshots: rw on the collections.
  kCapture,
  /// Everything that changes the cluster: m.
  kManage,
};

/// All may be absent: a server without keys.
struct NodeKeys {
  std::shared_ptr<const Secret> read;
  std::shared_ptr<const Secret> capture;
  std::shared_ptr<const Secret> manage;
};

struct NodeTimeouts {
  Duration connect = std::chrono::seconds(5);
  /// Longest silence of a node that is asked something.
  Duration answer = std::chrono::seconds(30);
  /// `?timeout=` of operations that go through consensus; their answer may take a little longer.
  Duration change = std::chrono::seconds(60);
};

/// Of a collection on the node at `url`.
inline Url CollectionUrl(const Url& url, const std::string& name) {
  return url / "collections" / name;
}

/// Thread-safe.
class NodeApi {
 public:
  /// `http` and `clock` must outlive the object.
  NodeApi(HttpClient& http, Clock& clock, NodeKeys keys, NodeTimeouts timeouts)
      : http_(http), clock_(clock), keys_(std::move(keys)), timeouts_(timeouts) {}

  /// A request with key and timeouts; the caller sets what is special.
  HttpRequest Request(HttpMethod method, Url url, Right right) const;

  /// GET. The `result` of the answer. Waits and asks again up to twice when the node says 429.
  Result<json::Json> Get(const CallContext& call, Url url, Right right = Right::kRead) const;
  /// As Get, of something that other nodes know: while a move ends a node may miss the shard that
  /// has just left it ("Local shard 0 not found", run on 1.18.3), so it is asked a few times.
  Result<json::Json> GetKnown(const CallContext& call, const Url& url) const;
  /// POST of a question: changes nothing, so it is treated as GET is.
  Result<json::Json> Ask(const CallContext& call, Url url, const json::Json& body,
                         Right right = Right::kRead) const;
  /// As Ask, with both bodies as they are on the wire: points are not parsed and printed anew.
  Result<std::string> AskText(const CallContext& call, Url url, std::string body,
                              Right right = Right::kRead) const;
  /// POST or PUT of points that may arrive twice without harm, as it is on the wire. The `result`
  /// of the answer. Waits and asks again up to twice when the node says 429.
  Result<json::Json> Write(const CallContext& call, HttpMethod method, Url url, std::string body,
                           Right right = Right::kManage) const;
  /// A request that changes something; sent once. `body` null: none. With `?timeout=` where the
  /// node takes one: timeouts().change, or what is left of the call.
  Result<json::Json> Change(const CallContext& call, HttpMethod method, Url url,
                            const json::Json& body, Right right = Right::kManage) const;
  /// `url` with `?timeout=`, see Change; `at_most` where that is less.
  Url WithTimeout(const CallContext& call, const Url& url,
                  std::optional<Duration> at_most = std::nullopt) const;

  /// The exchange as it is, for probes and streams.
  HttpClient& http() const noexcept { return http_; }
  Clock& clock() const noexcept { return clock_; }
  const NodeTimeouts& timeouts() const noexcept { return timeouts_; }

 private:
  Result<HttpResponse> SendUntilServed(const CallContext& call, const HttpRequest& request) const;
  Result<json::Json> AskUntilServed(const CallContext& call, const HttpRequest& request) const;

  HttpClient& http_;
  Clock& clock_;
  const NodeKeys keys_;
  const NodeTimeouts timeouts_;
};

}  // namespace holdfast::qdrant
