// S3Store against a real server (versitygw) and against one that misbehaves. The contract of all
// stores is in object_store_contract_test.cc.

#include "store/s3_store.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <filesystem>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "base/random.h"
#include "store/probe.h"
#include "store/retrying_store.h"
#include "testing/fake_clock.h"
#include "testing/http_test_server.h"
#include "testing/versitygw.h"

namespace holdfast::testing {
namespace {

using std::chrono_literals::operator""h;
using std::chrono_literals::operator""ms;
using std::chrono_literals::operator""s;
using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;

Bytes Body(std::string_view text) { return ToBytes(AsBytes(text)); }

std::unique_ptr<HttpClient> Client() {
  auto client = HttpClient::Create(SystemClock(), {});
  HF_ASSERT(client.ok());
  return *std::move(client);
}

// --- the real server ---------------------------------------------------------------------------

class S3StoreTest : public ::testing::Test {
 protected:
  void SetUp() override {
    std::string why_not;
    server_ = VersityGw::Shared(why_not);
    if (server_ == nullptr) GTEST_SKIP() << why_not;
    store_ = Open({.endpoint = server_->url(), .bucket = VersityGw::FreshBucket()});
    const Status made = store_->CreateBucket({});
    ASSERT_TRUE(made.ok()) << made.error().ToString();
  }

  std::unique_ptr<S3Store> Open(
      S3Options options,
      std::shared_ptr<S3CredentialsSource> credentials = VersityGw::Credentials()) {
    bucket_ = options.bucket;
    auto store =
        S3Store::Create(*http_, clock_or_system(), std::move(options), std::move(credentials));
    EXPECT_TRUE(store.ok()) << store.error().ToString();
    return store.ok() ? *std::move(store) : nullptr;
  }

  Clock& clock_or_system() { return clock_ != nullptr ? *clock_ : SystemClock(); }

  VersityGw* server_ = nullptr;
  Clock* clock_ = nullptr;
  std::string bucket_;
  std::unique_ptr<HttpClient> http_ = Client();
  std::unique_ptr<S3Store> store_;
};

TEST_F(S3StoreTest, AProbeFindsTheServerGoodAndLeavesNothing) {
  const auto report = ProbeStore({}, *store_, SystemClock(), KernelRandom());

  ASSERT_TRUE(report.ok());
  for (const StoreFinding& finding : report->findings) {
    EXPECT_TRUE(finding.ok) << finding.what << ": " << finding.detail;
  }
  EXPECT_THAT(*store_->List({}, "", ""), IsEmpty());
}

TEST_F(S3StoreTest, TwoPrefixesOfOneBucketDoNotSeeEachOther) {
  const auto a = Open({.endpoint = server_->url(), .bucket = bucket_, .prefix = "a/"});
  const auto b = Open({.endpoint = server_->url(), .bucket = bucket_, .prefix = "b/"});
  ASSERT_TRUE(a->Put({}, "key", Body("of a"), PutMode::kReplace).ok());

  EXPECT_EQ(b->Get({}, "key").error().code(), ErrorCode::kNotFound);
  EXPECT_THAT(*b->List({}, "", ""), IsEmpty());
  EXPECT_EQ(AsText(*store_->Get({}, "a/key")), "of a");
}

TEST_F(S3StoreTest, MakingABucketTwiceIsFine) { EXPECT_TRUE(store_->CreateBucket({}).ok()); }

TEST_F(S3StoreTest, AWrongSecretIsDeniedWithWhatTheServerSaid) {
  const auto wrong = Open({.endpoint = server_->url(), .bucket = bucket_},
                          VersityGw::Credentials("hunter2hunter2"));

  for (const Status& status :
       {wrong->Put({}, "a", Body("x"), PutMode::kReplace),
        wrong->Put({}, "a", Body("x"), PutMode::kIfAbsent), wrong->Delete({}, "a")}) {
    ASSERT_FALSE(status.ok());
    EXPECT_EQ(status.error().code(), ErrorCode::kPermissionDenied);
    EXPECT_THAT(status.error().ToString(),
                AllOf(HasSubstr("SignatureDoesNotMatch"), HasSubstr("secret key"),
                      HasSubstr(bucket_), Not(HasSubstr("hunter2"))));
  }
  EXPECT_EQ(wrong->Get({}, "a").error().code(), ErrorCode::kPermissionDenied);
  EXPECT_EQ(wrong->List({}, "", "").error().code(), ErrorCode::kPermissionDenied);
  const auto stat = wrong->Stat({}, "a");
  EXPECT_EQ(stat.error().code(), ErrorCode::kPermissionDenied);
  EXPECT_THAT(stat.error().message(), HasSubstr("SignatureDoesNotMatch"));
}

TEST_F(S3StoreTest, AnUnknownAccessKeyIsDenied) {
  const auto unknown =
      Open({.endpoint = server_->url(), .bucket = bucket_},
           StaticS3Credentials(
               {.access_key = "nobody", .secret_key = Secret::FromText("s"), .session_token = {}}));

  const auto got = unknown->Get({}, "a");

  EXPECT_EQ(got.error().code(), ErrorCode::kPermissionDenied);
  EXPECT_THAT(got.error().hint(), HasSubstr("access key"));
}

TEST_F(S3StoreTest, ClocksThatDifferAreNamedWithTheDifference) {
  class Late final : public Clock {
   public:
    MonotonicTime Monotonic() override { return SystemClock().Monotonic(); }
    WallTime Wall() override { return SystemClock().Wall() - 2h - 30s; }
    Status SleepFor(const CallContext& call, Duration length) override {
      return SystemClock().SleepFor(call, length);
    }
  } late;
  clock_ = &late;
  const auto store = Open({.endpoint = server_->url(), .bucket = bucket_});

  const Status put = store->Put({}, "a", Body("x"), PutMode::kReplace);

  ASSERT_FALSE(put.ok());
  EXPECT_EQ(put.error().code(), ErrorCode::kFailedPrecondition);
  EXPECT_THAT(put.error().ToString(), AllOf(HasSubstr("2 h 00 min ahead"), HasSubstr("NTP")));
}

TEST_F(S3StoreTest, AMissingBucketIsNoMissingObject) {
  const auto store = Open({.endpoint = server_->url(), .bucket = "no-such-bucket"});

  const auto got = store->Get({}, "a");
  EXPECT_EQ(got.error().code(), ErrorCode::kFailedPrecondition);
  EXPECT_THAT(got.error().message(), HasSubstr("no-such-bucket"));
  EXPECT_EQ(store->Put({}, "a", Body("x"), PutMode::kReplace).error().code(),
            ErrorCode::kFailedPrecondition);
  EXPECT_EQ(store->List({}, "", "").error().code(), ErrorCode::kFailedPrecondition);
  EXPECT_EQ(store->Delete({}, "a").error().code(), ErrorCode::kFailedPrecondition);
}

TEST_F(S3StoreTest, AWrongRegionIsAMatterOfConfiguration) {
  const auto store =
      Open({.endpoint = server_->url(), .region = "eu-central-9", .bucket = bucket_});

  const auto got = store->Get({}, "a");

  EXPECT_EQ(got.error().code(), ErrorCode::kConfiguration) << got.error().ToString();
  EXPECT_THAT(got.error().hint(), HasSubstr("region"));
}

TEST_F(S3StoreTest, WorksWithTheBucketAsHostName) {
  // libcurl takes every name below "localhost" for this machine.
  std::string why_not;
  const auto server = VersityGw::Start(why_not, {"--virtual-domain", "s3.localhost"});
  ASSERT_TRUE(server) << why_not;
  const auto store =
      Open({.endpoint = *Url::Parse("http://s3.localhost:" + std::to_string(server->port())),
            .bucket = "my-bucket",
            .prefix = "odd prefix+/",
            .virtual_host = true});
  const Status made = store->CreateBucket({});
  ASSERT_TRUE(made.ok()) << made.error().ToString();

  const auto report = ProbeStore({}, *store, SystemClock(), KernelRandom());

  ASSERT_TRUE(report.ok());
  for (const StoreFinding& finding : report->findings) {
    EXPECT_TRUE(finding.ok) << finding.what << ": " << finding.detail;
  }
  ASSERT_TRUE(store->Put({}, "a b/c", Body("x"), PutMode::kReplace).ok());
  EXPECT_TRUE(std::filesystem::exists(server->data() / "my-bucket/odd prefix+/a b/c"));
}

// --- a server in between that misbehaves -------------------------------------------------------

class S3StoreBehindProxyTest : public S3StoreTest {
 protected:
  /// What the proxy does with request number n that carries an object or a list; true: done.
  using Misbehave = std::function<bool(const TestRequest&, TestConnection&)>;

  /// `store_` and `retrying_` go through a proxy that calls `misbehave` first.
  void Interpose(Misbehave misbehave) {
    misbehave_ = std::move(misbehave);
    proxy_ =
        std::make_unique<HttpTestServer>([this](const TestRequest& request, TestConnection& peer) {
          if (misbehave_(request, peer)) return;
          peer.Send(peer.Forward(request, server_->port()));
          peer.Close();
        });
    Url endpoint = *Url::Parse("http://127.0.0.1:" + std::to_string(proxy_->port()));
    store_ = Open({.endpoint = endpoint,
                   .bucket = bucket_,
                   .timeouts = {.connect = 5s, .first_byte = 300ms, .between_bytes = 300ms}});
    retrying_ = std::make_unique<RetryingStore>(
        *store_, Retrier{.clock = pauses_, .random = random_, .policy = {.attempts_max = 3}});
  }

  static std::string Document(std::string_view code, std::string_view message) {
    return "<?xml version=\"1.0\"?><Error><Code>" + std::string(code) + "</Code><Message>" +
           std::string(message) + "</Message></Error>";
  }

  Misbehave misbehave_;
  std::unique_ptr<HttpTestServer> proxy_;
  FakeClock pauses_;
  Random random_{42};
  std::unique_ptr<RetryingStore> retrying_;
};

TEST_F(S3StoreBehindProxyTest, SlowDownIsTriedAgainUntilItWorks) {
  Interpose([](const TestRequest& request, TestConnection& peer) {
    if (request.number % 3 == 2) return false;
    if (request.number % 3 == 0) {
      peer.Reply(503, Document("SlowDown", "Please reduce your request rate."));
    } else {
      peer.Reply(500, Document("InternalError", "Try again."));
    }
    return true;
  });

  EXPECT_TRUE(retrying_->Put({}, "a", Body("x"), PutMode::kReplace).ok());
  EXPECT_EQ(AsText(*retrying_->Get({}, "a")), "x");
  EXPECT_EQ(retrying_->List({}, "", "")->size(), 1U);
  EXPECT_TRUE(retrying_->Delete({}, "a").ok());
  EXPECT_EQ(pauses_.sleeps().size(), 8U);

  const Status refused = store_->Put({}, "a", Body("x"), PutMode::kReplace);
  EXPECT_EQ(refused.error().code(), ErrorCode::kUnavailable);
  EXPECT_THAT(refused.error().message(),
              AllOf(HasSubstr("SlowDown"), HasSubstr("reduce your request rate")));
}

TEST_F(S3StoreBehindProxyTest, ALostReplyOfACreateIsFoundOutToBeOurOwn) {
  Interpose([this](const TestRequest& request, TestConnection& peer) {
    if (request.method != "PUT" || request.number != 0) return false;
    EXPECT_THAT(peer.Forward(request, server_->port()), HasSubstr("200 OK"));
    peer.Reset();
    return true;
  });

  const Status put = retrying_->Put({}, "groups/g1", Body("ours"), PutMode::kIfAbsent);

  EXPECT_TRUE(put.ok()) << put.error().ToString();
  EXPECT_EQ(AsText(*store_->Get({}, "groups/g1")), "ours");
  EXPECT_EQ(retrying_->Put({}, "groups/g1", Body("ours"), PutMode::kIfAbsent).error().code(),
            ErrorCode::kAlreadyExists);
}

TEST_F(S3StoreBehindProxyTest, ACreateIsNeverSentTwiceByTheConnectionItself) {
  // A kept connection that is closed in the middle of a put.
  Interpose([](const TestRequest& request, TestConnection& peer) {
    if (request.method != "PUT") {
      peer.Reply(404, Document("NoSuchKey", "none"));
    } else {
      peer.Close();
    }
    return true;
  });
  ASSERT_EQ(store_->Get({}, "a").error().code(), ErrorCode::kNotFound);

  const Status put = store_->Put({}, "a", Body("x"), PutMode::kIfAbsent);

  EXPECT_EQ(put.error().code(), ErrorCode::kDeadlineExceeded);
  EXPECT_EQ(proxy_->requests().size(), 2U);
}

TEST_F(S3StoreBehindProxyTest, ASilentServerIsUnavailable) {
  Interpose([](const TestRequest&, TestConnection& peer) {
    peer.WaitForPeer();
    return true;
  });

  EXPECT_EQ(store_->Get({}, "a").error().code(), ErrorCode::kUnavailable);
  EXPECT_EQ(store_->Put({}, "a", Body("x"), PutMode::kReplace).error().code(),
            ErrorCode::kUnavailable);
  EXPECT_EQ(store_->List({}, "", "").error().code(), ErrorCode::kUnavailable);
}

TEST_F(S3StoreBehindProxyTest, BytesDamagedOnTheWayAreRefusedByTheServerAndSentAgain) {
  Interpose([this](const TestRequest& request, TestConnection& peer) {
    if (request.method != "PUT" || request.number != 0) return false;
    TestRequest damaged = request;
    damaged.body[3] = static_cast<char>(damaged.body[3] ^ 1);
    peer.Send(peer.Forward(damaged, server_->port()));
    peer.Close();
    return true;
  });

  EXPECT_TRUE(retrying_->Put({}, "a", Body("precious"), PutMode::kReplace).ok());

  EXPECT_EQ(AsText(*store_->Get({}, "a")), "precious");
  EXPECT_EQ(pauses_.sleeps().size(), 1U);
}

TEST_F(S3StoreBehindProxyTest, AnAnswerCutShortIsNoObject) {
  ASSERT_TRUE(store_->Put({}, "a", Body("0123456789"), PutMode::kReplace).ok());
  Interpose([this](const TestRequest& request, TestConnection& peer) {
    const std::string answer = peer.Forward(request, server_->port());
    peer.Send(answer.substr(0, answer.size() - 3));
    peer.Close();
    return true;
  });

  const auto got = store_->Get({}, "a");

  EXPECT_EQ(got.error().code(), ErrorCode::kUnavailable);
  EXPECT_THAT(got.error().message(), HasSubstr("ended early"));
}

TEST_F(S3StoreBehindProxyTest, AServerWithoutConditionsGetsALookAndAPlainPut) {
  Interpose([](const TestRequest& request, TestConnection& peer) {
    if (!request.headers.contains("if-none-match")) return false;
    peer.Reply(501, Document("NotImplemented",
                             "A header you provided implies functionality that "
                             "is not implemented."));
    return true;
  });

  EXPECT_TRUE(store_->Put({}, "a", Body("first"), PutMode::kIfAbsent).ok());
  EXPECT_EQ(store_->Put({}, "a", Body("second"), PutMode::kIfAbsent).error().code(),
            ErrorCode::kAlreadyExists);
  EXPECT_EQ(AsText(*store_->Get({}, "a")), "first");
  const auto requests = proxy_->requests();
  EXPECT_EQ(std::ranges::count_if(
                requests, [](const auto& r) { return r.headers.contains("if-none-match"); }),
            1);
}

TEST_F(S3StoreBehindProxyTest, AServerThatIgnoresRangesIsFoundOut) {
  ASSERT_TRUE(store_->Put({}, "a", Body("0123456789"), PutMode::kReplace).ok());
  Interpose([](const TestRequest&, TestConnection& peer) {
    peer.Reply(200, "0123456789");
    return true;
  });

  for (const ByteRange range : {ByteRange{2, 3}, ByteRange{0, 10}}) {
    const auto got = store_->Get({}, "a", range);
    ASSERT_FALSE(got.ok());
    EXPECT_EQ(got.error().code(), ErrorCode::kUnsupported) << got.error().ToString();
  }
}

TEST_F(S3StoreBehindProxyTest, AnObjectLargerThanAnyIsNotTakenIntoMemory) {
  Interpose([](const TestRequest&, TestConnection& peer) {
    peer.Send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n");
    const std::string piece(kMiB, 'x');
    for (int i = 0; i < 80; ++i) peer.SendChunk(piece);
    peer.Send("0\r\n\r\n");
    return true;
  });

  EXPECT_EQ(store_->Get({}, "a").error().code(), ErrorCode::kResourceExhausted);
}

struct OddList {
  const char* name;
  const char* body;
  ErrorCode code;
};

class S3StoreOddListTest : public ::testing::TestWithParam<OddList> {};

TEST_P(S3StoreOddListTest, IsAnErrorAndNeverAShortPage) {
  HttpTestServer server(
      [](const TestRequest&, TestConnection& peer) { peer.Reply(200, GetParam().body); });
  const auto http = Client();
  const auto store =
      S3Store::Create(*http, SystemClock(),
                      {.endpoint = *Url::Parse("http://127.0.0.1:" + std::to_string(server.port())),
                       .bucket = "bucket"},
                      VersityGw::Credentials());

  const auto page = (*store)->List({}, "p/", "p/b");

  ASSERT_FALSE(page.ok());
  EXPECT_EQ(page.error().code(), GetParam().code) << page.error().ToString();
}

#define ENTRY(key)       \
  "<Contents><Key>" key  \
  "</Key><Size>1</Size>" \
  "<LastModified>2026-11-22T03:24:38.000Z</LastModified></Contents>"

INSTANTIATE_TEST_SUITE_P(
    All, S3StoreOddListTest,
    ::testing::Values(
        OddList{"Empty", "", ErrorCode::kUnavailable},
        OddList{"Html", "<html>login</html>", ErrorCode::kUnavailable},
        OddList{"CutShort", "<ListBucketResult>" ENTRY("p/c"), ErrorCode::kUnavailable},
        OddList{"BadSize",
                "<ListBucketResult><Contents><Key>p/c</Key><Size>x</Size></Contents>"
                "</ListBucketResult>",
                ErrorCode::kUnavailable},
        OddList{"BadTime",
                "<ListBucketResult><Contents><Key>p/c</Key><Size>1</Size></Contents>"
                "</ListBucketResult>",
                ErrorCode::kUnavailable},
        OddList{"OutOfOrder", "<ListBucketResult>" ENTRY("p/d") ENTRY("p/c") "</ListBucketResult>",
                ErrorCode::kUnsupported},
        OddList{"IgnoresStartAfter", "<ListBucketResult>" ENTRY("p/a") "</ListBucketResult>",
                ErrorCode::kUnsupported},
        OddList{"IgnoresPrefix", "<ListBucketResult>" ENTRY("q/a") "</ListBucketResult>",
                ErrorCode::kUnsupported},
        OddList{
            "TruncatedWithoutToken",
            "<ListBucketResult><IsTruncated>true</IsTruncated>" ENTRY("p/c") "</ListBucketResult>",
            ErrorCode::kUnavailable},
        OddList{"NeverGoesOn",
                "<ListBucketResult><IsTruncated>true</IsTruncated>"
                "<NextContinuationToken>t</NextContinuationToken></ListBucketResult>",
                ErrorCode::kUnavailable}),
    [](const auto& param) { return std::string(param.param.name); });

TEST(S3Store, FillsAPageFromSeveralAnswersAndSkipsWhatIsNotOurs) {
  HttpTestServer server([](const TestRequest& request, TestConnection& peer) {
    if (request.target.find("continuation-token=next") != std::string::npos) {
      peer.Reply(200, "<ListBucketResult><IsTruncated>false</IsTruncated>" ENTRY("p/b+c &amp; %41")
                          ENTRY("p/ü") "</ListBucketResult>");
    } else {
      peer.Reply(200,
                 "<ListBucketResult><IsTruncated>true</IsTruncated>"
                 "<NextContinuationToken>next</NextContinuationToken>" ENTRY("p/")
                     ENTRY("p/a") "</ListBucketResult>");
    }
  });
  const auto http = Client();
  const auto store =
      S3Store::Create(*http, SystemClock(),
                      {.endpoint = *Url::Parse("http://127.0.0.1:" + std::to_string(server.port())),
                       .bucket = "bucket"},
                      VersityGw::Credentials());

  const auto page = (*store)->List({}, "p/", "");

  ASSERT_TRUE(page.ok()) << page.error().ToString();
  ASSERT_EQ(page->size(), 2U);
  EXPECT_EQ(page->at(0).key, "p/a");
  EXPECT_EQ(page->at(1).key, "p/b+c & %41");
  EXPECT_EQ(FormatTime(page->at(0).last_modified), "2026-11-22T03:24:38.000Z");
}

TEST(S3Store, UsesTheBucketAsHostNameWhereAsked) {
  const auto http = Client();
  HttpTestServer server([](const TestRequest&, TestConnection& peer) { peer.Reply(200, "x"); });
  // A name for 127.0.0.1 that any resolver knows is only "localhost" and what is below it.
  const auto store =
      S3Store::Create(*http, SystemClock(),
                      {.endpoint = *Url::Parse("http://localhost:" + std::to_string(server.port())),
                       .bucket = "my-bucket",
                       .prefix = "p/",
                       .virtual_host = true},
                      VersityGw::Credentials());
  ASSERT_TRUE(store.ok());

  const auto got = (*store)->Get({}, "key");

  ASSERT_TRUE(got.ok()) << got.error().ToString();
  EXPECT_EQ(server.requests().at(0).target, "/p/key");
  EXPECT_EQ(server.requests().at(0).headers.at("host"),
            "my-bucket.localhost:" + std::to_string(server.port()));
}

TEST(S3Store, RefusesOptionsThatCannotBeRight) {
  const auto http = Client();
  const S3Options good{.endpoint = *Url::Parse("http://h:1"), .bucket = "bucket"};
  const auto code = [&](const std::function<void(S3Options&)>& change) {
    S3Options options = good;
    change(options);
    const auto store =
        S3Store::Create(*http, SystemClock(), std::move(options), VersityGw::Credentials());
    return store.ok() ? "ok" : std::string(ErrorCodeName(store.error().code()));
  };

  EXPECT_EQ(code([](S3Options&) {}), "ok");
  EXPECT_EQ(code([](S3Options& o) { o.endpoint = *Url::Parse("http://h:1/path"); }),
            "configuration");
  EXPECT_EQ(code([](S3Options& o) { o.endpoint = *Url::Parse("http://h:1/?a=b"); }),
            "configuration");
  EXPECT_EQ(code([](S3Options& o) { o.endpoint = Url(); }), "configuration");
  EXPECT_EQ(code([](S3Options& o) { o.bucket = "No"; }), "configuration");
  EXPECT_EQ(code([](S3Options& o) { o.bucket = "a/b/c"; }), "configuration");
  EXPECT_EQ(code([](S3Options& o) { o.region = ""; }), "configuration");
  EXPECT_EQ(code([](S3Options& o) { o.prefix = "no-slash"; }), "configuration");
  EXPECT_EQ(code([](S3Options& o) { o.prefix = "/a/"; }), "configuration");
  EXPECT_EQ(code([](S3Options& o) { o.prefix = "a//b/"; }), "configuration");
}

}  // namespace
}  // namespace holdfast::testing
