// HTTP exchanges, client side, on libcurl.

#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "base/clock.h"
#include "base/result.h"
#include "http/message.h"
#include "stream/byte_sink.h"

namespace holdfast {

/// Told what happens in one exchange, on the thread that makes it. Instants are those of the
/// client's clock.
class HttpObserver {
 public:
  virtual ~HttpObserver() = default;

  /// Connected; the request is sent as soon as this returns. Called again when the request has to
  /// be sent again: the last instant is the one of the request that was answered. It may block for
  /// a short while, e.g. until other exchanges are connected too (Qdrant closes a connection
  /// without a request after 5 s, reference 0.1).
  virtual void OnRequest(MonotonicTime) {}
  /// The status line and all header fields are in.
  virtual void OnHeaders(MonotonicTime, const HttpResponse&) {}
  /// The first body byte is in; called before the sink gets it. Only for 2xx answers.
  virtual void OnFirstByte(MonotonicTime) {}
  /// A piece of body, called before the sink gets it. Only for 2xx answers.
  virtual void OnChunk(MonotonicTime, std::uint64_t) {}
  /// Nothing came or went for `silence`, which is the limit that `timeouts` sets. True: wait once
  /// more as long. It may use the client itself, e.g. to ask why the server is silent.
  virtual bool OnSilence(Duration /*silence*/) { return false; }
};

struct TlsOptions {
  /// PEM file with the authorities to trust; empty: those of the system.
  std::string ca_file = {};
  /// Accepts every certificate. For tests only; whoever sets it says so to the user.
  bool insecure = false;
  /// PEM files, both or none: how we show who we are.
  std::string certificate_file = {};
  std::string key_file = {};
};

struct HttpClientOptions {
  TlsOptions tls = {};
  /// Whether http_proxy, https_proxy and no_proxy of the environment count. Nodes of a database
  /// cluster are not reached through a proxy; an object store may be.
  bool proxy_from_environment = false;
};

/// Makes exchanges, each on the thread that calls. Safe for use from many threads; tens of long
/// transfers at once are what it is made for: each has a connection of its own, so one that is held
/// back by its sink never holds up another.
///
/// A sink or source that blocks is back-pressure: nothing more is read from or sent to the server
/// meanwhile. Buffers: at most 1 MiB an exchange, whatever is transferred.
///
/// Kept connections are reused for idempotent requests while they have been idle for less than 4 s
/// (Qdrant closes them after 5 s, reference 0.1), at most 64 of them. HTTP/1.1 only; redirects are
/// answers like any other and never followed; nothing is retried but what HttpRequest::idempotent
/// says.
///
/// Errors of all three calls. An HTTP status, whatever it is, is no error here.
///   kCancelled, kDeadlineExceeded   `call` ended; at the latest a second after, unless a sink,
///                                   source or observer is blocking
///   kUnavailable                    no connection; reset; silence beyond a timeout; an answer that
///                                   ended early (fewer bytes than Content-Length, or chunks
///                                   without the last one); no HTTP
///   kDeadlineExceeded               the same, when the request is not idempotent and may have
///   taken effect kFailedPrecondition             the TLS certificate is not to be trusted
///   kResourceExhausted              the answer is larger than the limit
///   and whatever the sink, the source or `open` returned, as it is.
/// Messages name method and address, never header values.
class HttpClient {
 public:
  /// kConfiguration when a TLS file cannot be read. Makes the process ignore SIGPIPE if nobody
  /// handles it: TLS writes to a closed connection would end the process otherwise.
  static Result<std::unique_ptr<HttpClient>> Create(Clock& clock, HttpClientOptions options);
  /// No exchange may be under way.
  ~HttpClient();
  HttpClient(const HttpClient&) = delete;
  HttpClient& operator=(const HttpClient&) = delete;

  /// Sends `request` and returns the whole answer.
  Result<HttpResponse> Send(const CallContext& call, const HttpRequest& request,
                            HttpObserver* observer = nullptr);

  /// Sends `request` and writes the body of a 2xx answer to `sink` as it comes. After an error the
  /// sink may have got a part of it. The sink is not finished.
  Result<HttpResponse> Download(const CallContext& call, const HttpRequest& request, ByteSink& sink,
                                HttpObserver* observer = nullptr);

  /// Sends `request` with `body` as it is read and returns the whole answer. A server that answers
  /// before it has read everything (an error, usually) is heard: the rest is not sent.
  Result<HttpResponse> Upload(const CallContext& call, const HttpRequest& request,
                              const UploadBody& body, HttpObserver* observer = nullptr);

 private:
  class Pool;
  HttpClient(Clock& clock, HttpClientOptions options);
  Result<HttpResponse> Exchange(const CallContext& call, const HttpRequest& request,
                                const UploadBody& body, ByteSink* sink, HttpObserver* observer);

  Clock& clock_;
  const HttpClientOptions options_;
  std::unique_ptr<Pool> pool_;
};

}  // namespace holdfast
