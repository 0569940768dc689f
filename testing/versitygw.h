// A real S3 server for tests: versitygw (docs: shared dependencies, section 2).

#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <memory>
#include <sstream>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "base/secret.h"
#include "http/client.h"
#include "http/url.h"
#include "store/s3_credentials.h"
#include "testing/child_process.h"
#include "testing/http_test_server.h"
#include "testing/temp_folder.h"

namespace holdfast::testing {

/// Runs on 127.0.0.1 on a free port from construction to destruction, empty.
class VersityGw {
 public:
  /// The program that HOLDFAST_VERSITYGW names, else the one that ./dev setup installs; empty when
  /// there is none.
  static std::string Program() {
    const auto variable = [](const char* name) {
      const char* const value = std::getenv(name);  // NOLINT(concurrency-mt-unsafe)
      return std::string(value != nullptr ? value : "");
    };
    if (!variable("HOLDFAST_VERSITYGW").empty()) return variable("HOLDFAST_VERSITYGW");
    std::filesystem::path cache = variable("HOLDFAST_CACHE");
    if (cache.empty() && !variable("XDG_CACHE_HOME").empty()) {
      cache = std::filesystem::path(variable("XDG_CACHE_HOME")) / "holdfast";
    }
    if (cache.empty()) cache = std::filesystem::path(variable("HOME")) / ".cache/holdfast";
    const std::filesystem::path program = cache / "bin/versitygw";
    return std::filesystem::exists(program) ? program.string() : "";
  }
  /// Why a test that needs it is skipped.
  static std::string WhyNot() {
    return "versitygw is not installed; run ./dev setup, or set HOLDFAST_VERSITYGW";
  }

  /// A running server, or nothing with what it printed in `why_not`. `more` goes in front of the
  /// backend's name on its command line.
  static std::unique_ptr<VersityGw> Start(std::string& why_not,
                                          const std::vector<std::string>& more = {}) {
    if (Program().empty()) {
      why_not = WhyNot();
      return nullptr;
    }
    // Somebody else may take the port in between: then another one.
    for (int tries = 0; tries < 5; ++tries) {
      std::unique_ptr<VersityGw> server(new VersityGw(more));
      if (server->WaitUntilUp()) return server;
      why_not = "versitygw did not start: " + server->Log();
    }
    return nullptr;
  }

  /// One server for all tests of a program; nothing, and why, when there is none.
  static VersityGw* Shared(std::string& why_not) {
    static std::string reason;
    static const std::unique_ptr<VersityGw> server = Start(reason);
    why_not = reason;
    return server.get();
  }
  /// A name that no other test of this program has.
  static std::string FreshBucket() {
    static std::atomic<int> count = 0;
    return "bucket-" + std::to_string(++count);
  }

  std::uint16_t port() const noexcept { return port_; }
  Url url() const { return *Url::Parse("http://127.0.0.1:" + std::to_string(port_)); }
  /// What the server keeps, one folder a bucket.
  std::filesystem::path data() const { return folder_.path() / "data"; }

  /// Of the one account there is. `secret` other than the right one makes wrong credentials.
  static std::shared_ptr<S3CredentialsSource> Credentials(std::string_view secret = kSecret) {
    return StaticS3Credentials({.access_key = std::string(kAccess),
                                .secret_key = Secret::FromText(secret),
                                .session_token = {}});
  }

  /// What it printed so far.
  std::string Log() const {
    std::ostringstream text;
    text << std::ifstream(folder_.path() / "log").rdbuf();
    return text.str();
  }

 private:
  static constexpr std::string_view kAccess = "testkey";
  static constexpr std::string_view kSecret = "testsecret1234";

  explicit VersityGw(const std::vector<std::string>& more) : port_(UnusedPort()) {
    for (const char* name : {"data", "iam"}) {
      std::filesystem::create_directory(folder_.path() / name);
    }
    std::vector<std::string> arguments = {
        Program(),   "--port",    "127.0.0.1:" + std::to_string(port_), "--region",
        "us-east-1", "--iam-dir", (folder_.path() / "iam").string(),    "--quiet"};
    arguments.insert(arguments.end(), more.begin(), more.end());
    arguments.emplace_back("posix");
    arguments.push_back(data().string());
    process_ = std::make_unique<ChildProcess>(
        arguments,
        std::vector<std::string>{"ROOT_ACCESS_KEY=" + std::string(kAccess),
                                 "ROOT_SECRET_KEY=" + std::string(kSecret)},
        (folder_.path() / "log").string());
  }

  bool WaitUntilUp() {
    const auto client = HttpClient::Create(SystemClock(), {});
    HF_ASSERT(client.ok());
    while (process_->running()) {
      // Any answer will do; without a signature it is a refusal.
      if ((*client)->Send({}, {.method = HttpMethod::kGet, .url = url()}).ok()) return true;
      std::this_thread::sleep_for(std::chrono::milliseconds(20));
    }
    return false;
  }

  TempFolder folder_;
  const std::uint16_t port_;
  std::unique_ptr<ChildProcess> process_;
};

}  // namespace holdfast::testing
