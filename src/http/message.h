// What one HTTP exchange consists of.

#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/clock.h"
#include "base/result.h"
#include "base/secret.h"
#include "base/size.h"
#include "http/url.h"
#include "stream/byte_source.h"

namespace holdfast {

enum class HttpMethod { kGet, kHead, kPut, kPost, kPatch, kDelete };

/// "GET".
std::string_view HttpMethodName(HttpMethod method) noexcept;

/// Header fields in the order they came; names in lower case, values trimmed.
class HttpHeaders {
 public:
  void Add(std::string_view name, std::string_view value);
  /// The first value of `name` (any case), or nothing.
  std::optional<std::string_view> Find(std::string_view name) const;
  const std::vector<std::pair<std::string, std::string>>& all() const noexcept { return fields_; }

 private:
  std::vector<std::pair<std::string, std::string>> fields_;
};

/// A header whose value nobody may see, e.g. {"api-key", "", key} or {"authorization", "Bearer ",
/// key}.
struct SecretHeader {
  std::string name;
  /// Put in front of the secret.
  std::string prefix;
  std::shared_ptr<const Secret> value;
};

/// Limits of one exchange; the call's own deadline comes on top. Time that passes inside the
/// caller's sink, source or observer never counts. Running into one ends the exchange with
/// kUnavailable (see HttpClient for when it is kDeadlineExceeded instead).
struct HttpTimeouts {
  /// Name look-up, TCP and TLS together.
  Duration connect = std::chrono::seconds(10);
  /// From the last byte of the request to the first body byte of the answer (or its end, when it
  /// has no body). Headers alone do not count: Qdrant sends them long before (measured 1).
  std::optional<Duration> first_byte = std::chrono::seconds(120);
  /// The longest silence while a body is being sent or received.
  std::optional<Duration> between_bytes = std::chrono::seconds(60);
};

/// The largest body of an error that is read; the connection is closed on a longer one.
constexpr std::uint64_t kHttpErrorBodyMax = 64 * kKiB;
/// The most bytes of header fields that an answer may have.
constexpr std::uint64_t kHttpHeaderBytesMax = 256 * kKiB;

struct HttpRequest {
  HttpMethod method = HttpMethod::kGet;
  Url url = {};
  /// `host`, `content-length`, `accept-encoding: identity` and `user-agent` are added when absent.
  HttpHeaders headers = {};
  std::vector<SecretHeader> secret_headers = {};
  /// Sent by Send and Download; Upload ignores it. Set `content-type` along with it.
  std::string body = {};
  HttpTimeouts timeouts = {};
  /// Send and Upload fail with kResourceExhausted when a body of a 2xx answer is larger.
  std::uint64_t response_bytes_max = 16 * kMiB;
  /// Waits up to one second for "100 Continue" before the body is sent, so that a server can refuse
  /// early. Worth it for large uploads that may be refused.
  bool expect_continue = false;
  /// May be sent twice without harm. Absent: by the method (all but POST and PATCH are). Such a
  /// request may go out on a kept connection, and is sent once more, on a fresh one, when that was
  /// closed by the server before any byte of an answer. Others always get a connection of their
  /// own.
  std::optional<bool> idempotent = std::nullopt;

  /// "GET http://10.0.0.1:6333/collections": for messages.
  std::string Describe() const;
};

struct HttpResponse {
  int status = 0;
  HttpHeaders headers;
  /// Whole for Send and Upload. For Download only when the status is not 2xx. Error bodies are cut
  /// at kHttpErrorBodyMax.
  std::string body;

  bool ok() const noexcept { return status >= 200 && status < 300; }
};

/// A body that is sent as it is read.
struct UploadBody {
  /// One part of a multipart/form-data body.
  struct FormField {
    /// E.g. "snapshot", as Qdrant's upload wants it (reference 0.1).
    std::string name;
    std::string file_name;
    std::string content_type = "application/octet-stream";
  };

  /// Exactly this many bytes; a source that ends before fails the exchange with kDataLoss.
  std::uint64_t size = 0;
  /// Gives the bytes from the first one on. Called for every time the body must be sent, which is
  /// more than once only for idempotent requests; the returned source is read by the calling
  /// thread.
  std::function<Result<std::unique_ptr<ByteSource>>()> open;
  /// When set, the body goes out as this one part of a form; else raw.
  std::optional<FormField> form = std::nullopt;
};

/// A body that lies in memory as a list of views, which must outlive the exchange.
UploadBody BodyOf(std::vector<ByteView> parts);

}  // namespace holdfast
