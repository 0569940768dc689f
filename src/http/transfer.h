// One exchange on one libcurl handle, driven by the calling thread. Internal to http.

#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>

#include "base/clock.h"
#include "base/result.h"
#include "http/client.h"
#include "http/message.h"
#include "http/request_body.h"

namespace holdfast {

class Transfer {
 public:
  /// Everything must outlive the transfer. `sink` and `observer` may be absent.
  Transfer(Clock& clock, const CallContext& call, const HttpClientOptions& options,
           const HttpRequest& request, const UploadBody& body, ByteSink* sink,
           HttpObserver* observer);
  ~Transfer();
  Transfer(const Transfer&) = delete;
  Transfer& operator=(const Transfer&) = delete;

  /// To be called once. `multi` is a CURLM*, used by nobody else meanwhile: it keeps the
  /// connections.
  Result<HttpResponse> Run(void* multi);

 private:
  struct Callbacks;
  struct Handles;

  Status SetUp();
  Status SetHeaders();
  Status AddHeader(std::string_view name, std::string_view value);
  /// Nothing while the exchange goes on; its libcurl result when it is over.
  Result<std::optional<int>> Step(void* multi);
  Status CheckSilence();
  int PollMilliseconds();
  /// The limit that counts in the phase the exchange is in, or nothing.
  std::optional<Duration> SilenceLimit() const;
  void NoteProgress();
  Result<HttpResponse> Finished(int curl_code);
  Error Broken(int curl_code) const;
  /// kUnavailable, or kDeadlineExceeded when the request may have taken effect and must not be
  /// repeated.
  Error Lost(std::string_view what, std::string hint = {}) const;

  std::size_t OnHeaderLine(std::string_view line);
  std::size_t OnBody(ByteView bytes);
  std::size_t OnRead(std::span<std::byte> into);
  bool OnRewind();
  void OnRequest();
  Status Deliver(ByteView bytes);

  Clock& clock_;
  const CallContext& call_;
  const HttpClientOptions& options_;
  const HttpRequest& request_;
  RequestBody body_;
  ByteSink* const sink_;
  HttpObserver* const observer_;
  const bool idempotent_;
  const bool has_body_;

  std::unique_ptr<Handles> handles_;
  HttpResponse response_;
  /// The first error of our own side: it explains libcurl's.
  std::optional<Error> error_;
  std::uint64_t header_bytes_ = 0;
  bool request_begun_ = false;
  bool headers_done_ = false;
  bool first_byte_in_ = false;
  /// The body of an error was longer than kHttpErrorBodyMax; nothing more of it is read.
  bool error_body_cut_ = false;
  std::uint64_t bytes_sent_ = 0;
  MonotonicTime last_progress_;
};

}  // namespace holdfast
