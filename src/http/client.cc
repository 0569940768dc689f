#include "http/client.h"

#include <curl/curl.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <mutex>
#include <string>
#include <system_error>
#include <utility>
#include <vector>

#include "http/transfer.h"

namespace holdfast {
namespace {

constexpr std::size_t kIdleMax = 64;
constexpr Duration kIdleTime = std::chrono::seconds(4);

void InitializeOnce() {
  static const bool done = [] {
    HF_ASSERT(curl_global_init(CURL_GLOBAL_DEFAULT) == CURLE_OK);
    // libcurl asks for this with CURLOPT_NOSIGNAL: OpenSSL writes without MSG_NOSIGNAL.
    struct sigaction current{};
    if (sigaction(SIGPIPE, nullptr, &current) == 0 && current.sa_handler == SIG_DFL) {
      struct sigaction ignore{};
      ignore.sa_handler = SIG_IGN;
      sigaction(SIGPIPE, &ignore, nullptr);
    }
    return true;
  }();
  HF_ASSERT(done);
}

Status CheckReadable(const char* option, const std::string& path) {
  if (path.empty() || access(path.c_str(), R_OK) == 0) return {};
  return Error(ErrorCode::kConfiguration, std::string("cannot read ") + option + " '" + path +
                                              "': " + std::generic_category().message(errno));
}

}  // namespace

/// libcurl's multi handles, one for each exchange under way or lately ended: connections belong to
/// the handle. Thread-safe.
class HttpClient::Pool {
 public:
  explicit Pool(Clock& clock) : clock_(clock) {}

  ~Pool() {
    HF_ASSERT(in_use_ == 0);
    for (const Idle& idle : idle_) curl_multi_cleanup(idle.multi);
  }

  /// The handle that last served `origin` and may still be connected, or a new one.
  CURLM* Take(const std::string& origin) {
    std::vector<Idle> expired;
    CURLM* found = nullptr;
    {
      const std::scoped_lock lock(mutex_);
      ++in_use_;
      const MonotonicTime oldest = clock_.Monotonic() - kIdleTime;
      while (!idle_.empty() && idle_.front().since <= oldest) {
        expired.push_back(std::move(idle_.front()));
        idle_.erase(idle_.begin());
      }
      for (auto it = idle_.end(); it != idle_.begin() && found == nullptr;) {
        --it;
        if (it->origin != origin) continue;
        found = it->multi;
        it = idle_.erase(it);
      }
    }
    for (const Idle& idle : expired) curl_multi_cleanup(idle.multi);
    if (found == nullptr) {
      found = curl_multi_init();
      HF_ASSERT(found != nullptr);
      curl_multi_setopt(found, CURLMOPT_MAXCONNECTS, 1L);
    }
    return found;
  }

  void GiveBack(CURLM* multi, std::string origin) {
    CURLM* surplus = nullptr;
    {
      const std::scoped_lock lock(mutex_);
      --in_use_;
      if (idle_.size() == kIdleMax) {
        surplus = idle_.front().multi;
        idle_.erase(idle_.begin());
      }
      idle_.push_back({multi, std::move(origin), clock_.Monotonic()});
    }
    if (surplus != nullptr) curl_multi_cleanup(surplus);
  }

 private:
  struct Idle {
    CURLM* multi;
    std::string origin;
    MonotonicTime since;
  };

  Clock& clock_;
  std::mutex mutex_;
  std::size_t in_use_ = 0;
  /// Oldest first.
  std::vector<Idle> idle_;
};

HttpClient::HttpClient(Clock& clock, HttpClientOptions options)
    : clock_(clock), options_(std::move(options)), pool_(std::make_unique<Pool>(clock)) {}

HttpClient::~HttpClient() = default;

Result<std::unique_ptr<HttpClient>> HttpClient::Create(Clock& clock, HttpClientOptions options) {
  InitializeOnce();
  HF_RETURN_IF_ERROR(CheckReadable("ca_file", options.tls.ca_file));
  HF_RETURN_IF_ERROR(CheckReadable("certificate_file", options.tls.certificate_file));
  HF_RETURN_IF_ERROR(CheckReadable("key_file", options.tls.key_file));
  if (options.tls.certificate_file.empty() != options.tls.key_file.empty()) {
    return Error(ErrorCode::kConfiguration,
                 "a client certificate needs both certificate_file and key_file");
  }
  return std::unique_ptr<HttpClient>(new HttpClient(clock, std::move(options)));
}

Result<HttpResponse> HttpClient::Exchange(const CallContext& call, const HttpRequest& request,
                                          const UploadBody& body, ByteSink* sink,
                                          HttpObserver* observer) {
  Transfer transfer(clock_, call, options_, request, body, sink, observer);
  std::string origin = request.url.Origin();
  CURLM* const multi = pool_->Take(origin);
  auto response = transfer.Run(multi);
  pool_->GiveBack(multi, std::move(origin));
  return response;
}

Result<HttpResponse> HttpClient::Send(const CallContext& call, const HttpRequest& request,
                                      HttpObserver* observer) {
  return Exchange(call, request, BodyOf({AsBytes(request.body)}), nullptr, observer);
}

Result<HttpResponse> HttpClient::Download(const CallContext& call, const HttpRequest& request,
                                          ByteSink& sink, HttpObserver* observer) {
  return Exchange(call, request, BodyOf({AsBytes(request.body)}), &sink, observer);
}

Result<HttpResponse> HttpClient::Upload(const CallContext& call, const HttpRequest& request,
                                        const UploadBody& body, HttpObserver* observer) {
  return Exchange(call, request, body, nullptr, observer);
}

}  // namespace holdfast
