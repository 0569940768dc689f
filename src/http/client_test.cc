#include "http/client.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <latch>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "stream/byte_sink.h"
#include "stream/byte_source.h"
#include "testing/http_test_server.h"

namespace holdfast {
namespace {

using std::chrono_literals::operator""ms;
using std::chrono_literals::operator""s;
using ::testing::AllOf;
using ::testing::HasSubstr;
using testing::HttpTestServer;
using ::testing::Not;
using ::testing::StartsWith;
using testing::TestConnection;
using testing::TestRequest;

/// Remembers what happened, in order.
class Recorder final : public HttpObserver {
 public:
  void OnRequest(MonotonicTime now) override { Note("request", now); }
  void OnHeaders(MonotonicTime now, const HttpResponse& response) override {
    Note("headers " + std::to_string(response.status), now);
  }
  void OnFirstByte(MonotonicTime now) override { Note("first byte", now); }
  void OnChunk(MonotonicTime now, std::uint64_t size) override {
    if (chunk_bytes_ == 0) Note("chunk", now);
    chunk_bytes_ += size;
  }
  bool OnSilence(Duration) override {
    ++silences_;
    return silences_ <= patience_;
  }

  void set_patience(int silences) { patience_ = silences; }
  int silences() const { return silences_; }
  std::uint64_t chunk_bytes() const { return chunk_bytes_; }
  const std::vector<std::string>& events() const { return events_; }
  bool in_order() const { return std::ranges::is_sorted(instants_); }

 private:
  void Note(std::string event, MonotonicTime now) {
    events_.push_back(std::move(event));
    instants_.push_back(now);
  }

  std::vector<std::string> events_;
  std::vector<MonotonicTime> instants_;
  std::uint64_t chunk_bytes_ = 0;
  int silences_ = 0;
  int patience_ = 0;
};

class HttpClientTest : public ::testing::Test {
 protected:
  HttpClientTest() {
    auto client = HttpClient::Create(SystemClock(), {});
    EXPECT_TRUE(client.ok());
    client_ = *std::move(client);
  }

  static HttpRequest Get(const HttpTestServer& server, std::string_view path = "x") {
    return {.method = HttpMethod::kGet, .url = server.url() / path};
  }
  static HttpRequest Post(const HttpTestServer& server) {
    return {.method = HttpMethod::kPost, .url = server.url() / "x", .body = "question"};
  }

  std::unique_ptr<HttpClient> client_;
  BytesSink sink_{64 * kMiB};
};

UploadBody BodyFromText(std::string_view text) { return BodyOf({AsBytes(text)}); }

// --- small exchanges ---------------------------------------------------------------------------

TEST_F(HttpClientTest, SendsARequestAndReturnsTheAnswer) {
  HttpTestServer server([](const TestRequest&, TestConnection& peer) {
    peer.Reply(200, "{\"result\":1}", "X-Thing:  some value \r\n");
  });
  HttpRequest request = Get(server, "a b");
  request.url = request.url.With("wait", "true");
  request.headers.Add("X-Mine", "yes");

  const auto response = client_->Send({}, request);

  ASSERT_TRUE(response.ok()) << response.error().ToString();
  EXPECT_EQ(response->status, 200);
  EXPECT_EQ(response->body, "{\"result\":1}");
  EXPECT_EQ(response->headers.Find("x-thing"), "some value");
  EXPECT_EQ(response->headers.Find("X-Thing"), "some value");
  const TestRequest seen = server.requests().at(0);
  EXPECT_EQ(seen.method, "GET");
  EXPECT_EQ(seen.target, "/a%20b?wait=true");
  EXPECT_EQ(seen.headers.at("x-mine"), "yes");
  EXPECT_EQ(seen.headers.at("accept-encoding"), "identity");
  EXPECT_THAT(seen.headers.at("user-agent"), StartsWith("holdfast/"));
}

TEST_F(HttpClientTest, SendsEveryMethodWithAndWithoutABody) {
  HttpTestServer server([](const TestRequest&, TestConnection& peer) { peer.Reply(200, "fine"); });
  for (const HttpMethod method : {HttpMethod::kGet, HttpMethod::kPut, HttpMethod::kPost,
                                  HttpMethod::kPatch, HttpMethod::kDelete}) {
    for (const std::string_view body : {"", "some body"}) {
      const auto response =
          client_->Send({}, {.method = method, .url = server.url(), .body = std::string(body)});
      ASSERT_TRUE(response.ok()) << response.error().ToString();
      EXPECT_EQ(response->body, "fine");
      EXPECT_EQ(server.requests().back().method, HttpMethodName(method));
      EXPECT_EQ(server.requests().back().body, body);
    }
  }
}

TEST_F(HttpClientTest, HeadHasNoBody) {
  HttpTestServer server([](const TestRequest&, TestConnection& peer) {
    peer.Send("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n");
  });

  const auto response = client_->Send({}, {.method = HttpMethod::kHead, .url = server.url()});

  ASSERT_TRUE(response.ok()) << response.error().ToString();
  EXPECT_EQ(response->headers.Find("content-length"), "5");
  EXPECT_EQ(response->body, "");
}

TEST_F(HttpClientTest, AStatusIsNotAnError) {
  HttpTestServer server(
      [](const TestRequest&, TestConnection& peer) { peer.Reply(503, "overloaded"); });

  const auto response = client_->Send({}, Get(server));

  ASSERT_TRUE(response.ok());
  EXPECT_EQ(response->status, 503);
  EXPECT_FALSE(response->ok());
  EXPECT_EQ(response->body, "overloaded");
}

TEST_F(HttpClientTest, RedirectsAreAnswersLikeAnyOther) {
  HttpTestServer server([](const TestRequest&, TestConnection& peer) {
    peer.Reply(307, "", "Location: http://127.0.0.1:1/\r\n");
  });

  const auto response = client_->Send({}, Get(server));

  ASSERT_TRUE(response.ok());
  EXPECT_EQ(response->status, 307);
  EXPECT_EQ(server.requests().size(), 1U);
}

TEST_F(HttpClientTest, AnAnswerBeyondTheLimitIsRefused) {
  HttpTestServer server(
      [](const TestRequest&, TestConnection& peer) { peer.Reply(200, std::string(100'000, 'x')); });
  HttpRequest request = Get(server);
  request.response_bytes_max = 99'999;

  const auto response = client_->Send({}, request);

  ASSERT_FALSE(response.ok());
  EXPECT_EQ(response.error().code(), ErrorCode::kResourceExhausted);
  request.response_bytes_max = 100'000;
  EXPECT_TRUE(client_->Send({}, request).ok());
}

TEST_F(HttpClientTest, EndlessHeadersAreRefused) {
  HttpTestServer server([](const TestRequest&, TestConnection& peer) {
    peer.Send("HTTP/1.1 200 OK\r\n");
    for (int i = 0; i < 1000; ++i) peer.Send("x: " + std::string(1000, 'y') + "\r\n");
    peer.Send("\r\n");
    peer.WaitForPeer();
  });

  const auto response = client_->Send({}, Get(server));

  ASSERT_FALSE(response.ok());
}

// --- downloads ---------------------------------------------------------------------------------

TEST_F(HttpClientTest, DownloadTellsItsInstantsInOrder) {
  HttpTestServer server([](const TestRequest&, TestConnection& peer) {
    peer.Send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n");
    peer.SendChunk("first ");
    peer.SendChunk("second");
    peer.Send("0\r\n\r\n");
  });
  Recorder recorder;

  const auto response = client_->Download({}, Get(server), sink_, &recorder);

  ASSERT_TRUE(response.ok()) << response.error().ToString();
  EXPECT_EQ(AsText(sink_.bytes()), "first second");
  EXPECT_EQ(response->body, "");
  EXPECT_THAT(recorder.events(),
              ::testing::ElementsAre("request", "headers 200", "first byte", "chunk"));
  EXPECT_TRUE(recorder.in_order());
  EXPECT_EQ(recorder.chunk_bytes(), 12U);
}

TEST_F(HttpClientTest, ADownloadThatIsRefusedLeavesTheSinkAlone) {
  HttpTestServer server([](const TestRequest&, TestConnection& peer) {
    peer.Reply(500, "Service internal error: no");
  });
  Recorder recorder;

  const auto response = client_->Download({}, Get(server), sink_, &recorder);

  ASSERT_TRUE(response.ok());
  EXPECT_EQ(response->body, "Service internal error: no");
  EXPECT_TRUE(sink_.bytes().empty());
  EXPECT_THAT(recorder.events(), ::testing::ElementsAre("request", "headers 500"));
}

TEST_F(HttpClientTest, AnEndlessErrorBodyIsCut) {
  HttpTestServer server([](const TestRequest&, TestConnection& peer) {
    peer.Send("HTTP/1.1 500 No\r\nTransfer-Encoding: chunked\r\n\r\n");
    for (int i = 0; i < 100; ++i) peer.SendChunk(std::string(10'000, 'e'));
    peer.WaitForPeer();
  });

  const auto response = client_->Download({}, Get(server), sink_);

  ASSERT_TRUE(response.ok()) << response.error().ToString();
  EXPECT_EQ(response->status, 500);
  EXPECT_EQ(response->body.size(), kHttpErrorBodyMax);
}

struct EarlyEnd {
  const char* name;
  std::function<void(TestConnection&)> answer;
};

class HttpClientEarlyEndTest : public ::testing::TestWithParam<EarlyEnd> {};

TEST_P(HttpClientEarlyEndTest, IsUnavailableAndNotSuccess) {
  HttpTestServer server([](const TestRequest&, TestConnection& peer) { GetParam().answer(peer); });
  auto client = HttpClient::Create(SystemClock(), {});
  BytesSink sink(kMiB);

  const auto response =
      (*client)->Download({}, {.method = HttpMethod::kGet, .url = server.url() / "tar"}, sink);

  ASSERT_FALSE(response.ok());
  EXPECT_EQ(response.error().code(), ErrorCode::kUnavailable);
  EXPECT_THAT(response.error().message(), AllOf(HasSubstr("ended early"), HasSubstr("/tar")));
  EXPECT_EQ(AsText(sink.bytes()), "part");
  EXPECT_EQ(server.requests().size(), 1U);
}

INSTANTIATE_TEST_SUITE_P(
    AllWays, HttpClientEarlyEndTest,
    ::testing::Values(EarlyEnd{"BeforeContentLength",
                               [](TestConnection& peer) {
                                 peer.Send("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\npart");
                                 peer.Close();
                               }},
                      EarlyEnd{"ChunkedWithoutItsLastChunk",
                               [](TestConnection& peer) {
                                 peer.Send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n");
                                 peer.SendChunk("part");
                                 peer.Close();
                               }},
                      EarlyEnd{"InTheMiddleOfAChunk",
                               [](TestConnection& peer) {
                                 peer.Send(
                                     "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
                                     "9\r\npart");
                                 peer.Close();
                               }},
                      EarlyEnd{"Reset",
                               [](TestConnection& peer) {
                                 peer.Send("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\npart");
                                 // The reset overtakes what the client has not read yet.
                                 peer.Sleep(300ms);
                                 peer.Reset();
                               }},
                      EarlyEnd{"BrokenChunkSize",
                               [](TestConnection& peer) {
                                 peer.Send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n");
                                 peer.SendChunk("part");
                                 peer.Send("zzz\r\n");
                                 peer.WaitForPeer();
                               }}),
    [](const auto& param) { return std::string(param.param.name); });

TEST_F(HttpClientTest, TheSinksErrorComesBackAsItIs) {
  HttpTestServer server([](const TestRequest&, TestConnection& peer) { peer.Reply(200, "bytes"); });
  FunctionSink full([](const CallContext&, ByteView) -> Status {
    return Error(ErrorCode::kResourceExhausted, "the spool is full");
  });

  const auto response = client_->Download({}, Get(server), full);

  ASSERT_FALSE(response.ok());
  EXPECT_EQ(response.error().ToString(), "resource_exhausted: the spool is full");
}

TEST_F(HttpClientTest, ASlowSinkHoldsTheServerBack) {
  constexpr std::size_t kPieces = 256;
  std::atomic<std::size_t> sent = 0;
  HttpTestServer server([&](const TestRequest&, TestConnection& peer) {
    const std::string piece(kMiB, 'p');
    peer.Send("HTTP/1.1 200 OK\r\nContent-Length: " + std::to_string(kPieces * kMiB) + "\r\n\r\n");
    for (; sent < kPieces; ++sent) peer.Send(piece);
  });
  std::uint64_t received = 0;
  std::size_t sent_meanwhile = 0;
  FunctionSink slow([&](const CallContext&, ByteView bytes) -> Status {
    if (received == 0) {
      // Until the server gets nothing more off its hands.
      for (std::size_t before = kPieces; before != sent;) {
        before = sent;
        std::this_thread::sleep_for(100ms);
      }
      sent_meanwhile = sent;
    }
    received += bytes.size();
    return {};
  });

  ASSERT_TRUE(client_->Download({}, Get(server), slow).ok());

  EXPECT_LT(sent_meanwhile, kPieces / 2);
  EXPECT_EQ(received, kPieces * kMiB);
}

TEST_F(HttpClientTest, ManyStreamsRunAtOnceThoughOneIsStuck) {
  std::latch all_begun(24);
  HttpTestServer server([&](const TestRequest&, TestConnection& peer) {
    peer.Send("HTTP/1.1 200 OK\r\nContent-Length: 200000\r\n\r\n");
    all_begun.arrive_and_wait();
    peer.Send(std::string(200'000, 'x'));
  });
  std::latch others_done(23);
  std::atomic<int> good = 0;
  {
    std::vector<std::jthread> threads;
    for (int i = 0; i < 24; ++i) {
      threads.emplace_back([&, i] {
        FunctionSink sink([&, i](const CallContext&, ByteView) -> Status {
          if (i == 0) others_done.wait();
          return {};
        });
        if (client_->Download({}, Get(server), sink).ok()) ++good;
        if (i != 0) others_done.count_down();
      });
    }
  }
  EXPECT_EQ(good, 24);
}

// --- stopping and silence ----------------------------------------------------------------------

struct Silence {
  const char* name;
  std::function<void(TestConnection&)> answer;
};

class HttpClientSilenceTest : public ::testing::TestWithParam<Silence> {
 protected:
  HttpClientSilenceTest()
      : server_([this](const TestRequest&, TestConnection& peer) {
          GetParam().answer(peer);
          silent_.count_down();
          peer.WaitForPeer();
        }),
        client_(*HttpClient::Create(SystemClock(), {})) {}

  std::latch silent_{1};
  HttpTestServer server_;
  std::unique_ptr<HttpClient> client_;
  BytesSink sink_{kMiB};
};

TEST_P(HttpClientSilenceTest, AStopEndsIt) {
  std::stop_source stop;
  const std::jthread stopper([&] {
    silent_.wait();
    stop.request_stop();
  });

  const auto response =
      client_->Download({.stop = stop.get_token(), .deadline = {}},
                        {.method = HttpMethod::kGet, .url = server_.url()}, sink_);

  ASSERT_FALSE(response.ok());
  EXPECT_EQ(response.error().code(), ErrorCode::kCancelled);
}

TEST_P(HttpClientSilenceTest, ADeadlineEndsIt) {
  const CallContext call = SystemClock().Within({}, 100ms);

  const auto response =
      client_->Download(call, {.method = HttpMethod::kGet, .url = server_.url()}, sink_);

  ASSERT_FALSE(response.ok());
  EXPECT_EQ(response.error().code(), ErrorCode::kDeadlineExceeded);
}

TEST_P(HttpClientSilenceTest, ATimeoutEndsItOnceTheObserverHasEnough) {
  Recorder recorder;
  recorder.set_patience(2);

  const auto response = client_->Download({},
                                          {.method = HttpMethod::kGet,
                                           .url = server_.url(),
                                           .timeouts = {.first_byte = 50ms, .between_bytes = 50ms}},
                                          sink_, &recorder);

  ASSERT_FALSE(response.ok());
  EXPECT_EQ(response.error().code(), ErrorCode::kUnavailable);
  EXPECT_THAT(response.error().message(), HasSubstr("nothing came for 50 ms"));
  EXPECT_EQ(recorder.silences(), 3);
}

INSTANTIATE_TEST_SUITE_P(
    AllPhases, HttpClientSilenceTest,
    ::testing::Values(Silence{"BeforeTheHeaders", [](TestConnection&) {}},
                      Silence{"BeforeTheBody",
                              [](TestConnection& peer) {
                                peer.Send("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n");
                              }},
                      Silence{"InTheBody",
                              [](TestConnection& peer) {
                                peer.Send("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\npart");
                              }},
                      Silence{"InTheChunkedBody",
                              [](TestConnection& peer) {
                                peer.Send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n");
                                peer.SendChunk("part");
                              }}),
    [](const auto& param) { return std::string(param.param.name); });

TEST_F(HttpClientTest, HeadersAloneDoNotCountAsTheFirstByte) {
  HttpTestServer server([](const TestRequest&, TestConnection& peer) {
    peer.Send("HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\n");
    peer.WaitForPeer();
  });
  HttpRequest request = Get(server);
  request.timeouts = {.first_byte = 50ms, .between_bytes = std::nullopt};

  EXPECT_EQ(client_->Download({}, request, sink_).error().code(), ErrorCode::kUnavailable);
}

TEST_F(HttpClientTest, TimeInTheSinkIsNotSilence) {
  HttpTestServer server([](const TestRequest&, TestConnection& peer) {
    peer.Reply(200, std::string(4 * kMiB, 'x'));
  });
  HttpRequest request = Get(server);
  request.timeouts = {.first_byte = 10s, .between_bytes = 200ms};
  int slow_writes = 0;
  FunctionSink slow([&](const CallContext&, ByteView) -> Status {
    if (++slow_writes <= 2) std::this_thread::sleep_for(400ms);
    return {};
  });

  const auto response = client_->Download({}, request, slow);

  EXPECT_TRUE(response.ok()) << response.error().ToString();
}

TEST_F(HttpClientTest, TheObserverMayUseTheClientWhileItWaits) {
  std::latch asked(1);
  HttpTestServer server([&](const TestRequest& request, TestConnection& peer) {
    if (request.target == "/queue") {
      asked.count_down();
      peer.Reply(200, "42 left");
    } else {
      asked.wait();
      peer.Reply(200, "snapshot");
    }
  });
  class Asking final : public HttpObserver {
   public:
    Asking(HttpClient& client, HttpRequest question)
        : client_(client), question_(std::move(question)) {}
    bool OnSilence(Duration) override {
      const auto answer = client_.Send({}, question_);
      return answer.ok() && answer->body == "42 left";
    }

   private:
    HttpClient& client_;
    const HttpRequest question_;
  } asking(*client_, Get(server, "queue"));
  HttpRequest request = Get(server, "snapshot");
  request.timeouts.first_byte = 50ms;

  const auto response = client_->Download({}, request, sink_, &asking);

  ASSERT_TRUE(response.ok()) << response.error().ToString();
  EXPECT_EQ(AsText(sink_.bytes()), "snapshot");
}

TEST_F(HttpClientTest, ACallThatHasEndedAlreadyTouchesNoServer) {
  HttpTestServer server([](const TestRequest&, TestConnection& peer) { peer.Reply(200); });
  std::stop_source stop;
  stop.request_stop();

  EXPECT_EQ(client_->Send({.stop = stop.get_token(), .deadline = {}}, Get(server)).error().code(),
            ErrorCode::kCancelled);
  EXPECT_EQ(client_->Send({.stop = {}, .deadline = SystemClock().Monotonic()}, Get(server))
                .error()
                .code(),
            ErrorCode::kDeadlineExceeded);
  EXPECT_TRUE(server.requests().empty());
}

// --- uploads -----------------------------------------------------------------------------------

TEST_F(HttpClientTest, UploadsABodyAsItIsRead) {
  HttpTestServer server(
      [](const TestRequest&, TestConnection& peer) { peer.Reply(200, "thanks"); });
  std::string big(5'000'000, '\0');
  for (std::size_t i = 0; i < big.size(); ++i) big[i] = static_cast<char>(i * 31 % 251);
  const ByteView bytes = AsBytes(big);

  const auto response =
      client_->Upload({}, {.method = HttpMethod::kPut, .url = server.url() / "k"},
                      BodyOf({bytes.first(7), bytes.subspan(7, 0), bytes.subspan(7)}));

  ASSERT_TRUE(response.ok()) << response.error().ToString();
  EXPECT_EQ(response->body, "thanks");
  EXPECT_EQ(server.requests().at(0).headers.at("content-length"), "5000000");
  EXPECT_EQ(server.requests().at(0).body, big);
}

TEST_F(HttpClientTest, UploadsAFormFieldAsQdrantWantsIt) {
  HttpTestServer server([](const TestRequest&, TestConnection& peer) { peer.Reply(200); });
  UploadBody body = BodyFromText("tar bytes");
  body.form = {.name = "snapshot", .file_name = "odd \"name\".tar"};

  ASSERT_TRUE(
      client_->Upload({}, {.method = HttpMethod::kPost, .url = server.url() / "up"}, body).ok());

  const TestRequest seen = server.requests().at(0);
  const std::string type = seen.headers.at("content-type");
  const std::string_view begin = "multipart/form-data; boundary=";
  ASSERT_THAT(type, StartsWith(begin));
  const std::string boundary = type.substr(begin.size());
  EXPECT_EQ(seen.body, "--" + boundary +
                           "\r\nContent-Disposition: form-data; name=\"snapshot\"; "
                           "filename=\"odd %22name%22.tar\"\r\n"
                           "Content-Type: application/octet-stream\r\n\r\ntar bytes\r\n--" +
                           boundary + "--\r\n");
  EXPECT_EQ(seen.headers.at("content-length"), std::to_string(seen.body.size()));
}

TEST_F(HttpClientTest, ASourceThatEndsTooEarlyIsDataLoss) {
  HttpTestServer server([](const TestRequest&, TestConnection& peer) { peer.Reply(200); });
  UploadBody body = BodyFromText("only this");
  body.size = 100;

  const auto response =
      client_->Upload({}, {.method = HttpMethod::kPut, .url = server.url() / "k"}, body);

  ASSERT_FALSE(response.ok());
  EXPECT_EQ(response.error().code(), ErrorCode::kDataLoss);
  EXPECT_THAT(response.error().message(), HasSubstr("91"));
  EXPECT_TRUE(server.requests().empty());
}

TEST_F(HttpClientTest, TheSourcesErrorComesBackAsItIs) {
  class Broken final : public ByteSource {
    Result<std::size_t> Read(const CallContext&, std::span<std::byte>) override {
      return Error(ErrorCode::kDataLoss, "block 7 does not open");
    }
  };
  HttpTestServer server([](const TestRequest&, TestConnection& peer) { peer.Reply(200); });
  const UploadBody body{.size = 100, .open = []() -> Result<std::unique_ptr<ByteSource>> {
                          return std::unique_ptr<ByteSource>(std::make_unique<Broken>());
                        }};

  const auto response =
      client_->Upload({}, {.method = HttpMethod::kPut, .url = server.url() / "k"}, body);

  ASSERT_FALSE(response.ok());
  EXPECT_EQ(response.error().ToString(), "data_loss: block 7 does not open");
}

TEST_F(HttpClientTest, AServerThatRefusesEarlyIsHeardBeforeTheBodyIsSent) {
  HttpTestServer server(
      [](const TestRequest&, TestConnection& peer) {
        peer.Reply(403, "Forbidden: no manage access", "Connection: close\r\n");
        peer.Close();
      },
      HttpTestServer::Bodies::kLeaveUnread);
  class Unread final : public ByteSource {
    Result<std::size_t> Read(const CallContext&, std::span<std::byte>) override {
      return Error(ErrorCode::kInternal, "somebody read the body");
    }
  };
  const UploadBody body{.size = 1000, .open = []() -> Result<std::unique_ptr<ByteSource>> {
                          return std::unique_ptr<ByteSource>(std::make_unique<Unread>());
                        }};
  HttpRequest request{.method = HttpMethod::kPost, .url = server.url() / "up"};
  request.expect_continue = true;

  const auto response = client_->Upload({}, request, body);

  ASSERT_TRUE(response.ok()) << response.error().ToString();
  EXPECT_EQ(response->status, 403);
  EXPECT_EQ(response->body, "Forbidden: no manage access");
  EXPECT_EQ(server.requests().at(0).headers.at("expect"), "100-continue");
}

TEST_F(HttpClientTest, ASuccessBeforeTheBodyWasReadIsNotBelieved) {
  HttpTestServer server(
      [](const TestRequest&, TestConnection& peer) {
        peer.Reply(200, "done?");
        peer.Sleep(60s);
      },
      HttpTestServer::Bodies::kLeaveUnread);
  const std::string big(64 * kMiB, 'x');
  HttpRequest request{.method = HttpMethod::kPut, .url = server.url() / "k"};
  request.timeouts.first_byte = 200ms;
  request.timeouts.between_bytes = 200ms;

  const auto response = client_->Upload({}, request, BodyFromText(big));

  ASSERT_FALSE(response.ok());
  EXPECT_EQ(response.error().code(), ErrorCode::kUnavailable);
}

TEST_F(HttpClientTest, AnUploadNobodyReadsEndsWithSilence) {
  HttpTestServer server([](const TestRequest&, TestConnection& peer) { peer.Sleep(60s); },
                        HttpTestServer::Bodies::kLeaveUnread);
  const std::string big(64 * kMiB, 'x');
  HttpRequest request{.method = HttpMethod::kPost, .url = server.url() / "up"};
  request.timeouts = {.first_byte = std::nullopt, .between_bytes = 200ms};

  const auto response = client_->Upload({}, request, BodyFromText(big));

  ASSERT_FALSE(response.ok());
  EXPECT_EQ(response.error().code(), ErrorCode::kDeadlineExceeded);
  EXPECT_THAT(response.error().message(), HasSubstr("whether it took effect is not known"));
}

// --- connections -------------------------------------------------------------------------------

TEST_F(HttpClientTest, KeepsConnectionsForIdempotentRequestsOnly) {
  HttpTestServer server([](const TestRequest&, TestConnection& peer) { peer.Reply(200); });

  ASSERT_TRUE(client_->Send({}, Get(server)).ok());
  ASSERT_TRUE(client_->Send({}, Get(server)).ok());
  EXPECT_EQ(server.connections(), 1U);
  ASSERT_TRUE(client_->Send({}, Post(server)).ok());
  EXPECT_EQ(server.connections(), 2U);
  HttpRequest harmless = Post(server);
  harmless.idempotent = true;
  ASSERT_TRUE(client_->Send({}, harmless).ok());
  EXPECT_EQ(server.connections(), 2U);
}

TEST_F(HttpClientTest, ARequestLostOnAKeptConnectionIsSentOnceMore) {
  HttpTestServer server([](const TestRequest& request, TestConnection& peer) {
    if (request.number == 1) {
      peer.Close();  // As a server does that timed out an idle connection just now.
    } else {
      peer.Reply(200, request.body);
    }
  });
  ASSERT_TRUE(client_->Send({}, Get(server)).ok());
  Recorder recorder;

  const auto response = client_->Upload({}, {.method = HttpMethod::kPut, .url = server.url() / "k"},
                                        BodyFromText("all of it"), &recorder);

  ASSERT_TRUE(response.ok()) << response.error().ToString();
  EXPECT_EQ(response->body, "all of it");
  ASSERT_EQ(server.requests().size(), 3U);
  EXPECT_EQ(server.requests().at(1).connection, 0U);
  EXPECT_EQ(server.requests().at(2).connection, 1U);
  EXPECT_THAT(recorder.events(),
              ::testing::ElementsAre("request", "request", "headers 200", "first byte", "chunk"));
}

TEST_F(HttpClientTest, ARequestLostOnAFreshConnectionIsNotSentAgain) {
  HttpTestServer server([](const TestRequest&, TestConnection& peer) { peer.Close(); });

  const auto get = client_->Send({}, Get(server));
  const auto post = client_->Send({}, Post(server));

  EXPECT_EQ(get.error().code(), ErrorCode::kUnavailable);
  EXPECT_EQ(post.error().code(), ErrorCode::kDeadlineExceeded);
  EXPECT_THAT(post.error().message(), HasSubstr("whether it took effect is not known"));
  EXPECT_EQ(server.requests().size(), 2U);
}

TEST_F(HttpClientTest, NobodyListeningIsUnavailable) {
  const std::string port = std::to_string(testing::UnusedPort());
  for (const HttpMethod method : {HttpMethod::kGet, HttpMethod::kPost}) {
    const auto response =
        client_->Send({}, {.method = method, .url = *Url::Parse("http://127.0.0.1:" + port)});

    ASSERT_FALSE(response.ok());
    EXPECT_EQ(response.error().code(), ErrorCode::kUnavailable);
    EXPECT_THAT(response.error().message(),
                AllOf(HasSubstr("cannot connect"), HasSubstr("127.0.0.1:" + port)));
  }
}

TEST_F(HttpClientTest, AnUnknownHostIsUnavailable) {
  const auto response =
      client_->Send({}, {.method = HttpMethod::kGet, .url = *Url::Parse("http://nowhere.invalid")});

  ASSERT_FALSE(response.ok());
  EXPECT_EQ(response.error().code(), ErrorCode::kUnavailable);
  EXPECT_THAT(response.error().message(), HasSubstr("nowhere.invalid"));
}

TEST_F(HttpClientTest, GarbageIsNotAnAnswer) {
  HttpTestServer server([](const TestRequest&, TestConnection& peer) {
    peer.Send("SSH-2.0-OpenSSH_9.2p1\r\n");
    peer.Close();
  });

  const auto response = client_->Send({}, Get(server));

  ASSERT_FALSE(response.ok());
  EXPECT_EQ(response.error().code(), ErrorCode::kUnavailable);
  EXPECT_THAT(response.error().message(), HasSubstr("not HTTP"));
  EXPECT_THAT(response.error().hint(), HasSubstr("port"));
}

// --- secrets -----------------------------------------------------------------------------------

TEST_F(HttpClientTest, SecretHeadersAreSentAndNeverShown) {
  HttpTestServer server([](const TestRequest& request, TestConnection& peer) {
    if (request.number == 0) {
      peer.Reply(200);
    } else {
      peer.Close();
    }
  });
  HttpRequest request = Post(server);
  request.url = request.url.With("api-key", "hunter2");
  request.secret_headers.push_back(
      {"authorization", "Bearer ", std::make_shared<Secret>(Secret::FromText("hunter2"))});

  ASSERT_TRUE(client_->Send({}, request).ok());
  EXPECT_EQ(server.requests().at(0).headers.at("authorization"), "Bearer hunter2");
  const auto lost = client_->Send({}, request);
  ASSERT_FALSE(lost.ok());
  EXPECT_THAT(lost.error().ToString(), Not(HasSubstr("hunter2")));
}

TEST_F(HttpClientTest, AHeaderWithALineBreakIsRefusedUnseen) {
  HttpTestServer server([](const TestRequest&, TestConnection& peer) { peer.Reply(200); });
  HttpRequest request = Get(server);
  request.secret_headers.push_back(
      {"api-key", "", std::make_shared<Secret>(Secret::FromText("hunter2\r\nx-other: 1"))});

  const auto response = client_->Send({}, request);

  ASSERT_FALSE(response.ok());
  EXPECT_EQ(response.error().code(), ErrorCode::kInvalidArgument);
  EXPECT_THAT(response.error().message(), AllOf(HasSubstr("api-key"), Not(HasSubstr("hunter2"))));
  EXPECT_TRUE(server.requests().empty());
}

}  // namespace
}  // namespace holdfast
