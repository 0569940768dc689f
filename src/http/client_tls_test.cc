// HttpClient over TLS, against `openssl s_server`.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <chrono>
#include <filesystem>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "http/client.h"
#include "testing/child_process.h"
#include "testing/http_test_server.h"
#include "testing/temp_folder.h"

namespace holdfast {
namespace {

using ::testing::AllOf;
using testing::ChildProcess;
using ::testing::HasSubstr;

constexpr const char* kOpenssl = "/usr/bin/openssl";

class HttpClientTlsTest : public ::testing::Test {
 protected:
  void SetUp() override {
    if (!std::filesystem::exists(kOpenssl)) GTEST_SKIP() << kOpenssl << " is not installed";
    MakeCertificate("server");
    MakeCertificate("client");
  }

  std::string Path(const std::string& name) const { return (folder_.path() / name).string(); }

  /// A certificate that signs itself, valid for 127.0.0.1, with its key.
  void MakeCertificate(const std::string& name) {
    ChildProcess openssl({kOpenssl, "req", "-x509", "-newkey", "ec", "-pkeyopt",
                          "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2", "-subj",
                          "/CN=holdfast-test", "-addext", "subjectAltName=IP:127.0.0.1", "-keyout",
                          Path(name + ".key"), "-out", Path(name + ".pem")},
                         {}, Path("log"));
    while (openssl.running()) std::this_thread::sleep_for(std::chrono::milliseconds(5));
    ASSERT_TRUE(std::filesystem::exists(Path(name + ".pem")));
  }

  void Serve(const std::vector<std::string>& more = {}) {
    port_ = testing::UnusedPort();
    std::vector<std::string> arguments = {kOpenssl,  "s_server",
                                          "-accept", "127.0.0.1:" + std::to_string(port_),
                                          "-cert",   Path("server.pem"),
                                          "-key",    Path("server.key"),
                                          "-www",    "-quiet"};
    arguments.insert(arguments.end(), more.begin(), more.end());
    server_ = std::make_unique<ChildProcess>(arguments, std::vector<std::string>{}, Path("log"));
  }

  /// Asks until somebody listens.
  Result<HttpResponse> Ask(TlsOptions tls, const std::string& host = "127.0.0.1") {
    auto client = HttpClient::Create(SystemClock(), {.tls = std::move(tls)});
    if (!client.ok()) return client.error();
    const HttpRequest request{
        .method = HttpMethod::kGet,
        .url = *Url::Parse("https://" + host + ":" + std::to_string(port_) + "/")};
    for (;;) {
      auto response = (*client)->Send({}, request);
      const bool starting = !response.ok() && server_->running() &&
                            response.error().message().find("cannot connect") != std::string::npos;
      if (!starting) return response;
      std::this_thread::sleep_for(std::chrono::milliseconds(10));
    }
  }

  testing::TempFolder folder_;
  std::uint16_t port_ = 0;
  std::unique_ptr<ChildProcess> server_;
};

TEST_F(HttpClientTlsTest, ACertificateNobodyKnowsIsRefusedWithTheWayOut) {
  Serve();

  const auto response = Ask({});

  ASSERT_FALSE(response.ok());
  EXPECT_EQ(response.error().code(), ErrorCode::kFailedPrecondition);
  EXPECT_THAT(response.error().message(), HasSubstr("not to be trusted"));
  EXPECT_THAT(response.error().hint(), HasSubstr("ca_file"));
}

TEST_F(HttpClientTlsTest, ACertificateOfTheNamedAuthorityIsTrusted) {
  Serve();

  const auto response = Ask({.ca_file = Path("server.pem")});

  ASSERT_TRUE(response.ok()) << response.error().ToString();
  EXPECT_EQ(response->status, 200);
  EXPECT_THAT(response->body, HasSubstr("s_server"));
}

TEST_F(HttpClientTlsTest, ACertificateForAnotherHostIsRefused) {
  Serve();

  const auto response = Ask({.ca_file = Path("server.pem")}, "localhost");

  ASSERT_FALSE(response.ok());
  EXPECT_EQ(response.error().code(), ErrorCode::kFailedPrecondition);
}

TEST_F(HttpClientTlsTest, InsecureTakesAnything) {
  Serve();

  EXPECT_TRUE(Ask({.insecure = true}, "localhost").ok());
}

TEST_F(HttpClientTlsTest, ShowsItsOwnCertificateWhereTheServerWantsOne) {
  Serve({"-Verify", "1", "-verify_return_error", "-CAfile", Path("client.pem")});

  EXPECT_FALSE(Ask({.ca_file = Path("server.pem")}).ok());
  const auto response = Ask({.ca_file = Path("server.pem"),
                             .insecure = false,
                             .certificate_file = Path("client.pem"),
                             .key_file = Path("client.key")});
  EXPECT_TRUE(response.ok()) << response.error().ToString();
}

TEST_F(HttpClientTlsTest, FilesThatCannotBeUsedAreAMatterOfConfiguration) {
  for (const TlsOptions& tls :
       {TlsOptions{.ca_file = "/no/such/file"}, TlsOptions{.certificate_file = Path("client.pem")},
        TlsOptions{.certificate_file = "/no/such/file", .key_file = Path("client.key")}}) {
    const auto client = HttpClient::Create(SystemClock(), {.tls = tls});
    ASSERT_FALSE(client.ok());
    EXPECT_EQ(client.error().code(), ErrorCode::kConfiguration);
  }
  Serve();
  const auto not_a_certificate = Ask({.ca_file = Path("server.key")});
  ASSERT_FALSE(not_a_certificate.ok());
  EXPECT_EQ(not_a_certificate.error().code(), ErrorCode::kConfiguration)
      << not_a_certificate.error().ToString();
}

}  // namespace
}  // namespace holdfast
