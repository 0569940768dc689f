#include "http/transfer.h"

#include <curl/curl.h>

#include <algorithm>
#include <charconv>
#include <stop_token>
#include <string_view>
#include <utility>

#include "base/bytes.h"
#include "stream/byte_sink.h"

namespace holdfast {
namespace {

constexpr long kReceiveBufferBytes = 512 * 1024;
constexpr long kSendBufferBytes = 512 * 1024;
/// libcurl counts whole seconds and drops what is older: 3 means "not 4 s or more".
constexpr long kIdleConnectionSeconds = 3;
constexpr long kDnsCacheSeconds = 10;
/// However long nothing is due, the loop looks again after this.
constexpr Duration kPollMax = std::chrono::seconds(1);

bool IsSuccess(int status) { return status >= 200 && status < 300; }

bool DefaultIdempotent(HttpMethod method) {
  return method != HttpMethod::kPost && method != HttpMethod::kPatch;
}

long long Milliseconds(Duration length) {
  return std::chrono::ceil<std::chrono::milliseconds>(length).count();
}

}  // namespace

struct Transfer::Handles {
  CURL* easy = curl_easy_init();
  curl_slist* headers = nullptr;
  std::array<char, CURL_ERROR_SIZE> error_text{};

  ~Handles() {
    curl_easy_cleanup(easy);
    curl_slist_free_all(headers);
  }
};

/// libcurl calls these; each hands over to the transfer.
struct Transfer::Callbacks {
  static std::size_t Header(char* data, std::size_t, std::size_t size, void* self) {
    return static_cast<Transfer*>(self)->OnHeaderLine({data, size});
  }
  static std::size_t Write(char* data, std::size_t, std::size_t size, void* self) {
    return static_cast<Transfer*>(self)->OnBody(AsBytes({data, size}));
  }
  static std::size_t Read(char* data, std::size_t, std::size_t size, void* self) {
    return static_cast<Transfer*>(self)->OnRead(std::as_writable_bytes(std::span(data, size)));
  }
  static int Seek(void* self, curl_off_t offset, int origin) {
    if (offset != 0 || origin != SEEK_SET) return CURL_SEEKFUNC_CANTSEEK;
    return static_cast<Transfer*>(self)->OnRewind() ? CURL_SEEKFUNC_OK : CURL_SEEKFUNC_FAIL;
  }
  static int Prerequest(void* self, char*, char*, int, int) {
    static_cast<Transfer*>(self)->OnRequest();
    return CURL_PREREQFUNC_OK;
  }
};

Transfer::Transfer(Clock& clock, const CallContext& call, const HttpClientOptions& options,
                   const HttpRequest& request, const UploadBody& body, ByteSink* sink,
                   HttpObserver* observer)
    : clock_(clock),
      call_(call),
      options_(options),
      request_(request),
      body_(body),
      sink_(sink),
      observer_(observer),
      idempotent_(request.idempotent.value_or(DefaultIdempotent(request.method))),
      has_body_(body_.size() > 0 || request.method == HttpMethod::kPut ||
                request.method == HttpMethod::kPost || request.method == HttpMethod::kPatch),
      handles_(std::make_unique<Handles>()),
      last_progress_(clock.Monotonic()) {}

Transfer::~Transfer() = default;

// --- the request -------------------------------------------------------------------------------

Status Transfer::AddHeader(std::string_view name, std::string_view value) {
  if (value.find_first_of(std::string_view("\r\n\0", 3)) != std::string_view::npos) {
    return Error(ErrorCode::kInvalidArgument,
                 "the value of header '" + std::string(name) + "' has a line break in it");
  }
  // "name;" is libcurl's way to send a header without a value.
  std::string line(name);
  line += value.empty() ? ";" : ": ";
  line += value;
  curl_slist* const longer = curl_slist_append(handles_->headers, line.c_str());
  HF_ASSERT(longer != nullptr);
  handles_->headers = longer;
  return {};
}

Status Transfer::SetHeaders() {
  for (const auto& [name, value] : request_.headers.all()) {
    HF_RETURN_IF_ERROR(AddHeader(name, value));
  }
  for (const SecretHeader& header : request_.secret_headers) {
    HF_RETURN_IF_ERROR(
        AddHeader(header.name, header.prefix + std::string(AsText(header.value->Reveal()))));
  }
  // A compressed snapshot stream would hide where it ends (reference 0.1).
  if (!request_.headers.Find("accept-encoding")) {
    HF_RETURN_IF_ERROR(AddHeader("accept-encoding", "identity"));
  }
  if (!request_.headers.Find("user-agent")) {
    HF_RETURN_IF_ERROR(AddHeader("user-agent", "holdfast/" HOLDFAST_VERSION));
  }
  if (!body_.content_type().empty()) {
    HF_RETURN_IF_ERROR(AddHeader("content-type", body_.content_type()));
  }
  if (has_body_) {
    // Without the colon form libcurl would decide by size.
    curl_slist* const longer = curl_slist_append(
        handles_->headers, request_.expect_continue ? "expect: 100-continue" : "expect:");
    HF_ASSERT(longer != nullptr);
    handles_->headers = longer;
  }
  return {};
}

Status Transfer::SetUp() {
  CURL* const easy = handles_->easy;
  HF_ASSERT(easy != nullptr);
  HF_RETURN_IF_ERROR(SetHeaders());

  curl_easy_setopt(easy, CURLOPT_URL, request_.url.ToString().c_str());
  curl_easy_setopt(easy, CURLOPT_PROTOCOLS_STR, "http,https");
  curl_easy_setopt(easy, CURLOPT_PATH_AS_IS, 1L);
  curl_easy_setopt(easy, CURLOPT_HTTP_VERSION, static_cast<long>(CURL_HTTP_VERSION_1_1));
  curl_easy_setopt(easy, CURLOPT_HTTPHEADER, handles_->headers);
  curl_easy_setopt(easy, CURLOPT_ERRORBUFFER, handles_->error_text.data());
  curl_easy_setopt(easy, CURLOPT_NOSIGNAL, 1L);
  // Otherwise a name look-up that hangs would hold up a call that was stopped.
  curl_easy_setopt(easy, CURLOPT_QUICK_EXIT, 1L);
  curl_easy_setopt(easy, CURLOPT_CONNECTTIMEOUT_MS,
                   static_cast<long>(Milliseconds(request_.timeouts.connect)));
  curl_easy_setopt(easy, CURLOPT_TCP_KEEPALIVE, 1L);
  curl_easy_setopt(easy, CURLOPT_MAXAGE_CONN, kIdleConnectionSeconds);
  curl_easy_setopt(easy, CURLOPT_DNS_CACHE_TIMEOUT, kDnsCacheSeconds);
  curl_easy_setopt(easy, CURLOPT_BUFFERSIZE, kReceiveBufferBytes);
  curl_easy_setopt(easy, CURLOPT_UPLOAD_BUFFERSIZE, kSendBufferBytes);
  if (!options_.proxy_from_environment) curl_easy_setopt(easy, CURLOPT_PROXY, "");
  // libcurl sends a request again, by itself, when a kept connection turns out to be dead.
  if (!idempotent_) curl_easy_setopt(easy, CURLOPT_FRESH_CONNECT, 1L);

  const TlsOptions& tls = options_.tls;
  if (!tls.ca_file.empty()) curl_easy_setopt(easy, CURLOPT_CAINFO, tls.ca_file.c_str());
  if (tls.insecure) {
    curl_easy_setopt(easy, CURLOPT_SSL_VERIFYPEER, 0L);
    curl_easy_setopt(easy, CURLOPT_SSL_VERIFYHOST, 0L);
  }
  if (!tls.certificate_file.empty()) {
    curl_easy_setopt(easy, CURLOPT_SSLCERT, tls.certificate_file.c_str());
    curl_easy_setopt(easy, CURLOPT_SSLKEY, tls.key_file.c_str());
  }

  curl_easy_setopt(easy, CURLOPT_HEADERFUNCTION, &Callbacks::Header);
  curl_easy_setopt(easy, CURLOPT_HEADERDATA, this);
  curl_easy_setopt(easy, CURLOPT_WRITEFUNCTION, &Callbacks::Write);
  curl_easy_setopt(easy, CURLOPT_WRITEDATA, this);
  curl_easy_setopt(easy, CURLOPT_PREREQFUNCTION, &Callbacks::Prerequest);
  curl_easy_setopt(easy, CURLOPT_PREREQDATA, this);
  if (has_body_) {
    HF_RETURN_IF_ERROR(body_.Rewind());
    curl_easy_setopt(easy, CURLOPT_UPLOAD, 1L);
    curl_easy_setopt(easy, CURLOPT_INFILESIZE_LARGE, static_cast<curl_off_t>(body_.size()));
    curl_easy_setopt(easy, CURLOPT_READFUNCTION, &Callbacks::Read);
    curl_easy_setopt(easy, CURLOPT_READDATA, this);
    curl_easy_setopt(easy, CURLOPT_SEEKFUNCTION, &Callbacks::Seek);
    curl_easy_setopt(easy, CURLOPT_SEEKDATA, this);
  }
  if (request_.method == HttpMethod::kHead) {
    curl_easy_setopt(easy, CURLOPT_NOBODY, 1L);
  } else if (has_body_ || request_.method != HttpMethod::kGet) {
    curl_easy_setopt(easy, CURLOPT_CUSTOMREQUEST,
                     std::string(HttpMethodName(request_.method)).c_str());
  }
  return {};
}

// --- the loop ----------------------------------------------------------------------------------

Result<HttpResponse> Transfer::Run(void* multi) {
  HF_RETURN_IF_ERROR(clock_.Check(call_));
  if (auto ready = SetUp(); !ready.ok()) {
    return std::move(ready).error().While(request_.Describe());
  }
  last_progress_ = clock_.Monotonic();
  HF_ASSERT(curl_multi_add_handle(static_cast<CURLM*>(multi), handles_->easy) == CURLM_OK);
  Result<std::optional<int>> step = std::optional<int>();
  {
    const std::stop_callback wake(call_.stop,
                                  [multi] { curl_multi_wakeup(static_cast<CURLM*>(multi)); });
    do {
      step = Step(multi);
    } while (step.ok() && !step->has_value());
  }
  // A connection whose exchange is not over is closed by this.
  curl_multi_remove_handle(static_cast<CURLM*>(multi), handles_->easy);
  if (!step.ok()) return std::move(step).error().While(request_.Describe());
  return Finished(**step);
}

Result<std::optional<int>> Transfer::Step(void* multi_handle) {
  auto* const multi = static_cast<CURLM*>(multi_handle);
  HF_RETURN_IF_ERROR(clock_.Check(call_));
  int running = 0;
  if (const CURLMcode code = curl_multi_perform(multi, &running); code != CURLM_OK) {
    return Error(ErrorCode::kInternal, curl_multi_strerror(code));
  }
  int queued = 0;
  while (const CURLMsg* const message = curl_multi_info_read(multi, &queued)) {
    if (message->msg == CURLMSG_DONE) return std::optional<int>(message->data.result);
  }
  NoteProgress();
  HF_RETURN_IF_ERROR(CheckSilence());
  if (const CURLMcode code = curl_multi_poll(multi, nullptr, 0, PollMilliseconds(), nullptr);
      code != CURLM_OK) {
    return Error(ErrorCode::kInternal, curl_multi_strerror(code));
  }
  return std::optional<int>();
}

void Transfer::NoteProgress() {
  if (!has_body_ || first_byte_in_) return;
  curl_off_t sent = 0;
  curl_easy_getinfo(handles_->easy, CURLINFO_SIZE_UPLOAD_T, &sent);
  if (static_cast<std::uint64_t>(sent) == bytes_sent_) return;
  bytes_sent_ = static_cast<std::uint64_t>(sent);
  last_progress_ = clock_.Monotonic();
}

std::optional<Duration> Transfer::SilenceLimit() const {
  if (!request_begun_) return std::nullopt;  // Connecting: libcurl's own timeout.
  const bool sending = has_body_ && bytes_sent_ < body_.size() && !headers_done_;
  return first_byte_in_ || sending ? request_.timeouts.between_bytes : request_.timeouts.first_byte;
}

Status Transfer::CheckSilence() {
  const std::optional<Duration> limit = SilenceLimit();
  if (!limit || clock_.Monotonic() - last_progress_ < *limit) return {};
  const bool wait_on = observer_ != nullptr && observer_->OnSilence(*limit);
  if (wait_on) {
    last_progress_ = clock_.Monotonic();
    return {};
  }
  return Lost("nothing came for " + FormatDuration(*limit) +
              (first_byte_in_ ? " in the middle of the answer" : ""));
}

int Transfer::PollMilliseconds() {
  const MonotonicTime now = clock_.Monotonic();
  Duration wait = kPollMax;
  if (call_.deadline) wait = std::min(wait, *call_.deadline - now);
  if (const auto limit = SilenceLimit()) wait = std::min(wait, last_progress_ + *limit - now);
  return static_cast<int>(Milliseconds(std::max(wait, Duration(0))));
}

// --- what comes back ---------------------------------------------------------------------------

void Transfer::OnRequest() {
  request_begun_ = true;
  if (observer_ != nullptr) observer_->OnRequest(clock_.Monotonic());
  last_progress_ = clock_.Monotonic();
}

std::size_t Transfer::OnHeaderLine(std::string_view line) {
  if (headers_done_) return line.size();  // Trailers behind a chunked body: nobody needs them.
  header_bytes_ += line.size();
  if (header_bytes_ > kHttpHeaderBytesMax) {
    error_ =
        Error(ErrorCode::kResourceExhausted,
              "the answer has more than " + FormatSize(kHttpHeaderBytesMax) + " of header fields")
            .While(request_.Describe());
    return 0;
  }
  if (line.starts_with("HTTP/")) {
    response_ = {};
    const std::size_t space = std::min(line.find(' '), line.size() - 1);
    std::from_chars(line.data() + space + 1, line.data() + line.size(), response_.status);
  } else if (line == "\r\n" || line == "\n") {
    headers_done_ = response_.status >= 200;
    if (headers_done_ && observer_ != nullptr) observer_->OnHeaders(clock_.Monotonic(), response_);
  } else if (const std::size_t colon = line.find(':'); colon != std::string_view::npos) {
    response_.headers.Add(line.substr(0, colon), line.substr(colon + 1));
  }
  return line.size();
}

std::size_t Transfer::OnBody(ByteView bytes) {
  if (bytes.empty()) return 0;
  if (auto delivered = Deliver(bytes); !delivered.ok()) {
    error_ = std::move(delivered).error();
    return 0;
  }
  last_progress_ = clock_.Monotonic();
  return error_body_cut_ ? 0 : bytes.size();
}

Status Transfer::Deliver(ByteView bytes) {
  const bool first = !std::exchange(first_byte_in_, true);
  if (!IsSuccess(response_.status)) {
    const std::size_t room = kHttpErrorBodyMax - response_.body.size();
    response_.body += AsText(bytes.first(std::min(bytes.size(), room)));
    error_body_cut_ = bytes.size() > room;
    return {};
  }
  if (observer_ != nullptr) {
    const MonotonicTime now = clock_.Monotonic();
    if (first) observer_->OnFirstByte(now);
    observer_->OnChunk(now, bytes.size());
  }
  if (sink_ != nullptr) return sink_->Write(call_, bytes);
  if (response_.body.size() + bytes.size() > request_.response_bytes_max) {
    return Error(ErrorCode::kResourceExhausted,
                 "the answer is larger than " + FormatSize(request_.response_bytes_max))
        .While(request_.Describe());
  }
  response_.body += AsText(bytes);
  return {};
}

std::size_t Transfer::OnRead(std::span<std::byte> into) {
  auto read = body_.Read(call_, into);
  last_progress_ = clock_.Monotonic();
  if (read.ok()) return *read;
  error_ = std::move(read).error();
  return CURL_READFUNC_ABORT;
}

bool Transfer::OnRewind() {
  auto rewound = body_.Rewind();
  if (!rewound.ok()) error_ = std::move(rewound).error();
  bytes_sent_ = 0;
  return rewound.ok();
}

// --- how it ended ------------------------------------------------------------------------------

Result<HttpResponse> Transfer::Finished(int curl_code) {
  if (error_) return *std::move(error_);
  if (error_body_cut_) return std::move(response_);
  if (curl_code != CURLE_OK) return Broken(curl_code);
  if (response_.ok() && has_body_ && !body_.finished()) {
    return Lost("the server answered before it had read the whole body").While(request_.Describe());
  }
  return std::move(response_);
}

Error Transfer::Lost(std::string_view what, std::string hint) const {
  std::string text(what);
  if (!request_begun_ || idempotent_) {
    return {ErrorCode::kUnavailable, std::move(text), std::move(hint)};
  }
  return {ErrorCode::kDeadlineExceeded, text + "; whether it took effect is not known",
          std::move(hint)};
}

Error Transfer::Broken(int curl_code) const {
  const auto code = static_cast<CURLcode>(curl_code);
  const std::string_view detail(handles_->error_text.data());
  const std::string why(detail.empty() ? std::string_view(curl_easy_strerror(code)) : detail);
  const auto named = [&](Error error) { return std::move(error).While(request_.Describe()); };
  switch (code) {
    case CURLE_PEER_FAILED_VERIFICATION:
    case CURLE_SSL_ISSUER_ERROR:
      return named({ErrorCode::kFailedPrecondition,
                    "the server's certificate is not to be trusted: " + why,
                    "set ca_file to the authority that signed it"});
    case CURLE_SSL_CERTPROBLEM:
    case CURLE_SSL_CACERT_BADFILE:
    case CURLE_SSL_CIPHER:
      return named({ErrorCode::kConfiguration, "a TLS file cannot be used: " + why});
    case CURLE_SSL_CONNECT_ERROR:
      return named(Lost("no TLS connection: " + why, "is this port https?"));
    case CURLE_COULDNT_RESOLVE_HOST:
    case CURLE_COULDNT_RESOLVE_PROXY:
    case CURLE_COULDNT_CONNECT:
      return named(Lost("cannot connect: " + why));
    case CURLE_OPERATION_TIMEDOUT:
      return named(Lost("cannot connect within " + FormatDuration(request_.timeouts.connect)));
    case CURLE_PARTIAL_FILE:
      return named(Lost("the answer ended early: " + why));
    case CURLE_RECV_ERROR:
      return named(Lost((first_byte_in_ ? "the answer ended early: " : "no answer: ") + why));
    case CURLE_GOT_NOTHING:
      return named(Lost("the connection was closed without an answer"));
    case CURLE_SEND_ERROR:
    case CURLE_SEND_FAIL_REWIND:
      return named(Lost("the request could not be sent whole: " + why));
    case CURLE_UNSUPPORTED_PROTOCOL:
    case CURLE_WEIRD_SERVER_REPLY:
    case CURLE_BAD_CONTENT_ENCODING:
      return named(Lost("the answer is not HTTP: " + why, "is this the right port?"));
    default:
      return named(Lost(why));
  }
}

}  // namespace holdfast
