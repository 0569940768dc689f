#include "testing/http_test_server.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cctype>
#include <charconv>

#include "base/assert.h"

namespace holdfast::testing {
namespace {

constexpr std::size_t kHeadMax = 1 << 20;
constexpr std::string_view kHeadEnd = "\r\n\r\n";

sockaddr_in Loopback(std::uint16_t port) {
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(port);
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  return address;
}

int Listen(std::uint16_t& port) {
  const int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  HF_ASSERT(fd >= 0);
  sockaddr_in address = Loopback(0);
  socklen_t size = sizeof address;
  HF_ASSERT(bind(fd, reinterpret_cast<sockaddr*>(&address), size) == 0);
  HF_ASSERT(listen(fd, 128) == 0);
  HF_ASSERT(getsockname(fd, reinterpret_cast<sockaddr*>(&address), &size) == 0);
  port = ntohs(address.sin_port);
  return fd;
}

bool SendAll(int fd, std::string_view bytes) {
  while (!bytes.empty()) {
    const ssize_t sent = send(fd, bytes.data(), bytes.size(), MSG_NOSIGNAL);
    if (sent <= 0) return false;
    bytes.remove_prefix(static_cast<std::size_t>(sent));
  }
  return true;
}

/// Appends what comes next; false at the end of the connection.
bool Receive(int fd, std::string& to) {
  std::array<char, 65536> buffer;
  const ssize_t got = recv(fd, buffer.data(), buffer.size(), 0);
  if (got <= 0) return false;
  to.append(buffer.data(), static_cast<std::size_t>(got));
  return true;
}

TestRequest ParseHead(std::string head) {
  TestRequest request;
  const std::size_t line_end = head.find("\r\n");
  const std::string line = head.substr(0, line_end);
  const std::size_t first = line.find(' ');
  const std::size_t last = line.rfind(' ');
  HF_ASSERT(first != std::string::npos && last > first);
  request.method = line.substr(0, first);
  request.target = line.substr(first + 1, last - first - 1);
  for (std::size_t begin = line_end + 2; begin + 2 < head.size();) {
    const std::size_t end = head.find("\r\n", begin);
    const std::size_t colon = head.find(':', begin);
    HF_ASSERT(colon < end);
    std::string name = head.substr(begin, colon - begin);
    std::ranges::transform(name, name.begin(),
                           [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
    const std::size_t value = std::min(head.find_first_not_of(' ', colon + 1), end);
    request.headers[name] = head.substr(value, end - value);
    begin = end + 2;
  }
  request.head = std::move(head);
  return request;
}

std::size_t ContentLength(const TestRequest& request) {
  const auto found = request.headers.find("content-length");
  std::size_t length = 0;
  if (found == request.headers.end()) return 0;
  std::from_chars(found->second.data(), found->second.data() + found->second.size(), length);
  return length;
}

}  // namespace

// --- one connection ----------------------------------------------------------------------------

void TestConnection::Send(std::string_view bytes) {
  if (!SendAll(fd_, bytes)) closed_ = true;
}

void TestConnection::Reply(int status, std::string_view body, std::string_view headers) {
  Send("HTTP/1.1 " + std::to_string(status) + " Whatever\r\n" + std::string(headers) +
       "Content-Length: " + std::to_string(body.size()) + "\r\n\r\n" + std::string(body));
}

void TestConnection::SendChunk(std::string_view bytes) {
  std::array<char, 16> size{};
  const auto [end, code] = std::to_chars(size.data(), size.data() + size.size(), bytes.size(), 16);
  Send(std::string(size.data(), end) + "\r\n" + std::string(bytes) + "\r\n");
}

std::string TestConnection::ReadSome(std::size_t most) {
  if (unread_.empty() && !Receive(fd_, unread_)) return {};
  std::string some = unread_.substr(0, most);
  unread_.erase(0, some.size());
  return some;
}

void TestConnection::Close() {
  shutdown(fd_, SHUT_WR);
  closed_ = true;
}

void TestConnection::Reset() {
  const linger now{.l_onoff = 1, .l_linger = 0};
  setsockopt(fd_, SOL_SOCKET, SO_LINGER, &now, sizeof now);
  closed_ = true;
}

void TestConnection::WaitForPeer() {
  std::string ignored;
  while (Receive(fd_, ignored)) ignored.clear();
}

void TestConnection::Sleep(Duration length) { server_.SleepUnlessStopped(length); }

std::string TestConnection::Forward(const TestRequest& request, std::uint16_t port) {
  const int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  HF_ASSERT(fd >= 0);
  const sockaddr_in address = Loopback(port);
  std::string answer;
  if (connect(fd, reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0) {
    std::string head = request.head;
    // The body was read already: "100 Continue" was answered here.
    for (std::size_t begin = 0; (begin = head.find("\r\n", begin)) != std::string::npos;) {
      begin += 2;
      std::string name = head.substr(begin, 7);
      std::ranges::transform(name, name.begin(),
                             [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
      if (name == "expect:") head.erase(begin, head.find("\r\n", begin) + 2 - begin);
    }
    head.insert(head.size() - 2, "Connection: close\r\n");
    if (SendAll(fd, head) && SendAll(fd, request.body)) {
      while (Receive(fd, answer)) {
      }
    }
  }
  close(fd);
  return answer;
}

// --- the server --------------------------------------------------------------------------------

HttpTestServer::HttpTestServer(Handler handler, Bodies bodies)
    : handler_(std::move(handler)), bodies_(bodies) {
  listen_fd_ = Listen(port_);
  accepter_ = std::jthread([this] { Accept(); });
}

HttpTestServer::~HttpTestServer() {
  {
    const std::scoped_lock lock(mutex_);
    stopped_ = true;
    stopping_.notify_all();
    shutdown(listen_fd_, SHUT_RDWR);
    for (const Connection& connection : connections_) shutdown(connection.fd, SHUT_RDWR);
  }
  accepter_.join();
  for (Connection& connection : connections_) {
    connection.thread.join();
    close(connection.fd);
  }
  close(listen_fd_);
}

Url HttpTestServer::url() const {
  return *Url::Parse("http://127.0.0.1:" + std::to_string(port_) + "/");
}

std::vector<TestRequest> HttpTestServer::requests() const {
  const std::scoped_lock lock(mutex_);
  return requests_;
}

std::size_t HttpTestServer::connections() const {
  const std::scoped_lock lock(mutex_);
  return connections_.size();
}

bool HttpTestServer::SleepUnlessStopped(Duration length) {
  std::unique_lock lock(mutex_);
  return !stopping_.wait_for(lock, length, [this] { return stopped_; });
}

void HttpTestServer::Accept() {
  for (;;) {
    const int fd = accept4(listen_fd_, nullptr, nullptr, SOCK_CLOEXEC);
    const std::scoped_lock lock(mutex_);
    if (stopped_ || fd < 0) {
      if (fd >= 0) close(fd);
      return;
    }
    const int on = 1;
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    const std::size_t number = connections_.size();
    Connection& connection = connections_.emplace_back();
    connection.fd = fd;
    connection.thread = std::jthread([this, fd, number] { Serve(fd, number); });
  }
}

void HttpTestServer::Serve(int fd, std::size_t connection) {
  std::string unread;
  while (ServeOne(fd, connection, unread)) {
  }
  // The descriptor itself is kept until the server ends, so that no other connection gets its
  // number; for the client the connection is over now.
  linger setting{};
  socklen_t size = sizeof setting;
  getsockopt(fd, SOL_SOCKET, SO_LINGER, &setting, &size);
  if (setting.l_onoff != 0) {
    const int nowhere = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    dup2(nowhere, fd);  // Closes the connection, and with the linger setting resets it.
    close(nowhere);
  } else {
    shutdown(fd, SHUT_RDWR);
  }
}

bool HttpTestServer::ServeOne(int fd, std::size_t connection, std::string& unread) {
  std::size_t head_size = 0;
  while ((head_size = unread.find(kHeadEnd)) == std::string::npos) {
    if (unread.size() > kHeadMax || !Receive(fd, unread)) return false;
  }
  head_size += kHeadEnd.size();
  TestRequest request = ParseHead(unread.substr(0, head_size));
  unread.erase(0, head_size);
  request.connection = connection;
  if (bodies_ == Bodies::kRead) {
    if (request.headers.contains("expect") && !SendAll(fd, "HTTP/1.1 100 Continue\r\n\r\n")) {
      return false;
    }
    const std::size_t length = ContentLength(request);
    while (unread.size() < length) {
      if (!Receive(fd, unread)) return false;
    }
    request.body = unread.substr(0, length);
    unread.erase(0, length);
  }
  {
    const std::scoped_lock lock(mutex_);
    request.number = requests_.size();
    requests_.push_back(request);
  }
  TestConnection end(*this, fd, std::move(unread));
  handler_(request, end);
  unread = std::move(end.unread_);
  return !end.closed_ && bodies_ == Bodies::kRead;
}

std::uint16_t UnusedPort() {
  std::uint16_t port = 0;
  close(Listen(port));
  return port;
}

}  // namespace holdfast::testing
