// A node of a Qdrant cluster as far as a test scripts it: answers by method and path.

#pragma once

#include <functional>
#include <map>
#include <mutex>
#include <string>
#include <utility>
#include <vector>

#include "testing/http_test_server.h"

namespace holdfast::testing {

/// Thread-safe. What is not scripted is answered 404 without a body, as the real server does.
class FakeNode {
 public:
  using Handler = std::function<void(const TestRequest&, TestConnection&)>;

  FakeNode()
      : server_([this](const TestRequest& request, TestConnection& connection) {
          Serve(request, connection);
        }) {}

  /// `path` with query, as it is sent; without a query it matches whatever query comes.
  void On(const std::string& method, const std::string& path, int status, std::string body,
          std::string headers = {}) {
    On(method, path,
       [status, body = std::move(body), headers = std::move(headers)](const TestRequest&,
                                                                      TestConnection& connection) {
         connection.Reply(status, body, headers);
       });
  }
  void On(const std::string& method, const std::string& path, Handler handler) {
    const std::scoped_lock lock(mutex_);
    handlers_[method + " " + path] = std::move(handler);
  }
  /// 200 with `result` in the envelope.
  void OnResult(const std::string& method, const std::string& path, const std::string& result) {
    On(method, path, 200, R"({"result":)" + result + R"(,"status":"ok","time":0.0})");
  }

  /// `GET /cluster` and `GET /`: this node is `peer` of a cluster of `peers` (id to p2p URI).
  void IsPeer(std::uint64_t peer, const std::map<std::uint64_t, std::string>& peers,
              std::uint64_t commit = 1) {
    std::string list;
    for (const auto& [id, uri] : peers) {
      list += (list.empty() ? "\"" : ",\"") + std::to_string(id) + R"(":{"uri":")" + uri + "\"}";
    }
    OnResult("GET", "/cluster",
             R"({"status":"enabled","peer_id":)" + std::to_string(peer) + R"(,"peers":{)" + list +
                 R"(},"raft_info":{"term":1,"commit":)" + std::to_string(commit) + "}}");
    On("GET", "/", 200, R"({"title":"qdrant - vector search engine","version":"1.18.3"})");
  }

  std::string url() const { return "http://127.0.0.1:" + std::to_string(server_.port()); }

  /// Requests with this method and path (without query), in order.
  std::vector<TestRequest> Requests(const std::string& method, const std::string& path) const {
    std::vector<TestRequest> found;
    for (const TestRequest& request : server_.requests()) {
      if (request.method == method && PathOf(request.target) == path) found.push_back(request);
    }
    return found;
  }
  std::size_t requests() const { return server_.requests().size(); }

 private:
  static std::string PathOf(const std::string& target) {
    return target.substr(0, target.find('?'));
  }

  void Serve(const TestRequest& request, TestConnection& connection) {
    Handler handler;
    {
      const std::scoped_lock lock(mutex_);
      auto found = handlers_.find(request.method + " " + request.target);
      if (found == handlers_.end()) {
        found = handlers_.find(request.method + " " + PathOf(request.target));
      }
      if (found != handlers_.end()) handler = found->second;
    }
    if (handler) {
      handler(request, connection);
    } else {
      connection.Reply(404);
    }
  }

  mutable std::mutex mutex_;
  std::map<std::string, Handler> handlers_;
  /// Last: it serves until it is gone.
  HttpTestServer server_;
};

}  // namespace holdfast::testing
