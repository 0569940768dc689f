// A tiny HTTP server that misbehaves on demand, for unit tests. Raw sockets: a proper server
// library would not send half an answer.

#pragma once

#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <list>
#include <map>
#include <mutex>
#include <string>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

#include "base/clock.h"
#include "http/url.h"

namespace holdfast::testing {

struct TestRequest {
  std::string method;
  /// Path and query as sent.
  std::string target;
  /// Names in lower case.
  std::map<std::string, std::string> headers;
  /// Request line and headers as sent, with the empty line.
  std::string head;
  std::string body;
  /// Counts from 0 over all requests of the server.
  std::size_t number = 0;
  /// Of the connection it came on, counting from 0: tells whether connections are kept.
  std::size_t connection = 0;
};

class HttpTestServer;

/// The server's end of one connection, for a handler. All calls end early when the server stops.
class TestConnection {
 public:
  /// Sends `bytes` as they are.
  void Send(std::string_view bytes);
  /// A proper answer with content-length; `headers` as "name: value" lines, each ending with \r\n.
  void Reply(int status, std::string_view body = {}, std::string_view headers = {});
  /// One chunk of a chunked body.
  void SendChunk(std::string_view bytes);
  /// Up to `most` body bytes that the server did not read for the handler; empty at the end.
  std::string ReadSome(std::size_t most);
  /// Ends the connection cleanly after what was sent.
  void Close();
  /// Ends the connection with a reset.
  void Reset();
  /// Blocks until the client has gone away.
  void WaitForPeer();
  void Sleep(Duration length);
  /// Sends `request` to 127.0.0.1:`port`, unchanged but for "connection: close", and returns what
  /// came back, head and all.
  std::string Forward(const TestRequest& request, std::uint16_t port);

 private:
  friend class HttpTestServer;
  TestConnection(HttpTestServer& server, int fd, std::string already_read)
      : server_(server), fd_(fd), unread_(std::move(already_read)) {}

  HttpTestServer& server_;
  int fd_;
  std::string unread_;
  bool closed_ = false;
};

/// Listens on 127.0.0.1 on a free port from construction to destruction; a thread a connection.
class HttpTestServer {
 public:
  /// Called for every request, on the connection's thread, from several at once. The
  /// connection is kept when it returns, unless it closed or reset it.
  using Handler = std::function<void(const TestRequest&, TestConnection&)>;
  /// Whether the server reads bodies (and answers "100 Continue") before the handler runs.
  enum class Bodies { kRead, kLeaveUnread };

  explicit HttpTestServer(Handler handler, Bodies bodies = Bodies::kRead);
  ~HttpTestServer();
  HttpTestServer(const HttpTestServer&) = delete;
  HttpTestServer& operator=(const HttpTestServer&) = delete;

  std::uint16_t port() const noexcept { return port_; }
  /// "http://127.0.0.1:port/".
  Url url() const;
  /// Everything that was asked so far.
  std::vector<TestRequest> requests() const;
  std::size_t connections() const;

 private:
  friend class TestConnection;
  struct Connection {
    int fd = -1;
    std::jthread thread;
  };

  void Accept();
  void Serve(int fd, std::size_t connection);
  /// False when the connection is over.
  bool ServeOne(int fd, std::size_t connection, std::string& unread);
  bool SleepUnlessStopped(Duration length);

  const Handler handler_;
  const Bodies bodies_;
  int listen_fd_ = -1;
  std::uint16_t port_ = 0;
  mutable std::mutex mutex_;
  std::condition_variable stopping_;
  bool stopped_ = false;
  std::vector<TestRequest> requests_;
  std::list<Connection> connections_;
  std::jthread accepter_;
};

/// A port of 127.0.0.1 on which nobody listens (somebody else may take it later).
std::uint16_t UnusedPort();

}  // namespace holdfast::testing
