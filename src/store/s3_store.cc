#include "store/s3_store.h"

#include <algorithm>
#include <charconv>
#include <cstring>
#include <utility>

#include "base/size.h"
#include "http/http_date.h"
#include "store/s3_signer.h"
#include "store/s3_xml.h"
#include "stream/byte_sink.h"
#include "stream/digest.h"

namespace holdfast {
namespace {

/// Above this a put waits for "100 Continue", so that a refusal is heard before the bytes are sent.
constexpr std::uint64_t kExpectContinueAbove = 1 * kMiB;
/// A page of 1,000 keys of 1,024 characters, six times as long when written as entities, and tags.
constexpr std::uint64_t kListBytesMax = 8 * kMiB;
/// Answers that one page of ours may be made of, so that a server cannot keep us forever.
constexpr int kListRoundsMax = 100;
constexpr std::size_t kPrefixSizeMax = 500;
/// Servers count in signed 64-bit numbers, and a range that they cannot read they ignore.
constexpr std::uint64_t kRangeOffsetMax = std::uint64_t{1} << 50;

std::string PayloadHash(const ObjectBody& body) {
  Sha256 hash;
  for (const ByteView part : body.parts()) hash.Update(part);
  return ToHex(hash.Finish());
}

/// Takes the body of an answer that may have at most `bytes_max` bytes.
class ObjectSink final : public ByteSink, public HttpObserver {
 public:
  explicit ObjectSink(std::uint64_t bytes_max) : bytes_max_(bytes_max) {}

  void OnHeaders(MonotonicTime, const HttpResponse& response) override {
    std::uint64_t length = 0;
    const std::string_view text = response.headers.Find("content-length").value_or("");
    std::from_chars(text.data(), text.data() + text.size(), length);
    if (response.ok()) bytes_.reserve(static_cast<std::size_t>(std::min(length, bytes_max_)));
  }

  Status Write(const CallContext&, ByteView bytes) override {
    if (bytes_.size() + bytes.size() > bytes_max_) {
      too_long_ = true;
      return Error(ErrorCode::kResourceExhausted,
                   "the answer has more than " + FormatSize(bytes_max_));
    }
    Append(bytes_, bytes);
    return {};
  }

  bool too_long() const noexcept { return too_long_; }
  const Bytes& bytes() const noexcept { return bytes_; }
  Bytes Take() { return std::move(bytes_); }

 private:
  const std::uint64_t bytes_max_;
  Bytes bytes_;
  bool too_long_ = false;
};

/// "the server's clock is 2 h 10 min ahead of this machine's", when both are known.
std::string ClockDifference(const HttpResponse& response, WallTime now) {
  const auto date = ParseHttpDate(response.headers.Find("date").value_or(""));
  if (!date.ok()) return "";
  const Duration difference = *date - now;
  return ": the server's is " + FormatDuration(std::chrono::abs(difference)) +
         (difference > Duration(0) ? " ahead" : " behind");
}

struct Meaning {
  ErrorCode code;
  const char* hint;
};

Meaning MeaningOf(int status, std::string_view code) {
  if (code == "RequestTimeTooSkewed" || code == "RequestExpired") {
    return {ErrorCode::kFailedPrecondition, "set this machine's clock, e.g. by NTP"};
  }
  if (code == "NoSuchBucket") {
    return {ErrorCode::kFailedPrecondition, "make the bucket first, or correct its name"};
  }
  if (code == "PermanentRedirect" || code == "AuthorizationHeaderMalformed" ||
      code == "IllegalLocationConstraintException" || status == 301 || status == 307) {
    return {ErrorCode::kConfiguration, "correct region and endpoint of the repository"};
  }
  if (code == "SignatureDoesNotMatch") {
    return {ErrorCode::kPermissionDenied, "is the secret key right?"};
  }
  if (code == "InvalidAccessKeyId")
    return {ErrorCode::kPermissionDenied, "is the access key right?"};
  if (code == "ExpiredToken") return {ErrorCode::kPermissionDenied, "renew the credentials"};
  if (code == "QuotaExceeded" || code == "XMinioStorageFull" || status == 507) {
    return {ErrorCode::kResourceExhausted, "make room there, or raise the quota"};
  }
  // Damaged or delayed on the way: not our bytes' fault.
  if (code == "XAmzContentSHA256Mismatch" || code == "BadDigest" || code == "RequestTimeout" ||
      code == "ConditionalRequestConflict" || code == "OperationAborted") {
    return {ErrorCode::kUnavailable, ""};
  }
  if (status == 401 || status == 403) {
    return {ErrorCode::kPermissionDenied,
            "the key needs s3:GetObject, s3:PutObject, s3:DeleteObject and s3:ListBucket"};
  }
  if (status == 404) return {ErrorCode::kNotFound, ""};
  if (status == 501 || status == 405) return {ErrorCode::kUnsupported, ""};
  if (status == 408 || status == 409 || status == 429 || status >= 500) {
    return {ErrorCode::kUnavailable, ""};
  }
  return {ErrorCode::kInternal, "this is not expected of an S3 server; is it one?"};
}

Status CheckOptions(const S3Options& options) {
  const auto bad = [](std::string what) {
    return Error(ErrorCode::kConfiguration, std::move(what));
  };
  const auto bucket_character = [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-' || c == '.';
  };
  if (options.endpoint.host().empty() || options.endpoint.path() != "/" ||
      !options.endpoint.query().empty()) {
    return bad("the S3 endpoint must be a plain address such as https://s3.example.org");
  }
  if (options.bucket.size() < 3 || options.bucket.size() > 63 ||
      !std::ranges::all_of(options.bucket, bucket_character)) {
    return bad("'" + options.bucket +
               "' cannot be a bucket: 3 to 63 lower-case letters, digits, '-' and '.'");
  }
  if (options.region.empty()) return bad("the S3 region is empty");
  const std::string& prefix = options.prefix;
  if (!prefix.empty() &&
      (prefix.front() == '/' || prefix.back() != '/' || prefix.find("//") != std::string::npos ||
       prefix.size() > kPrefixSizeMax)) {
    return bad("'" + prefix + "' cannot be a prefix: at most " + std::to_string(kPrefixSizeMax) +
               " characters, not beginning with '/', ending with one");
  }
  return {};
}

}  // namespace

Result<std::unique_ptr<S3Store>> S3Store::Create(HttpClient& http, Clock& clock, S3Options options,
                                                 std::shared_ptr<S3CredentialsSource> credentials) {
  HF_RETURN_IF_ERROR(CheckOptions(options));
  HF_ASSERT(credentials != nullptr);
  return std::unique_ptr<S3Store>(
      new S3Store(http, clock, std::move(options), std::move(credentials)));
}

S3Store::S3Store(HttpClient& http, Clock& clock, S3Options options,
                 std::shared_ptr<S3CredentialsSource> credentials)
    : http_(http),
      clock_(clock),
      options_(std::move(options)),
      credentials_(std::move(credentials)) {}

std::string S3Store::Describe() const {
  return "s3://" + options_.bucket + "/" + options_.prefix + " at " + options_.endpoint.Authority();
}

// --- requests ----------------------------------------------------------------------------------

Url S3Store::BucketUrl() const {
  if (!options_.virtual_host) return options_.endpoint.WithPath("/" + options_.bucket);
  return options_.endpoint.WithHost(options_.bucket + "." + options_.endpoint.host());
}

Url S3Store::ObjectUrl(std::string_view key) const {
  const Url bucket = BucketUrl();
  std::string path = options_.virtual_host ? "/" : bucket.path() + "/";
  return bucket.WithPath(path + PercentEncodePath(options_.prefix + std::string(key)));
}

HttpRequest S3Store::Request(HttpMethod method, Url url) const {
  return {.method = method, .url = std::move(url), .timeouts = options_.timeouts};
}

Status S3Store::Sign(HttpRequest& request, std::string_view payload_hash) {
  HF_TRY(const auto credentials, credentials_->Get());
  SignS3Request(request, *credentials, options_.region, payload_hash, clock_.Wall());
  return {};
}

Result<HttpResponse> S3Store::Send(const CallContext& call, HttpRequest request) {
  HF_RETURN_IF_ERROR(Sign(request, request.body.empty() ? std::string(kEmptyPayloadHash)
                                                        : ToHex(Sha256Of(AsBytes(request.body)))));
  return http_.Send(call, request);
}

Error S3Store::Refused(const HttpResponse& response, std::string_view doing) const {
  const S3ErrorText text = ParseS3Error(response.body);
  const Meaning meaning = MeaningOf(response.status, text.code);
  std::string message = "cannot " + std::string(doing) + " in " + Describe() + ": HTTP " +
                        std::to_string(response.status);
  if (!text.code.empty()) message += " " + text.code;
  if (!text.message.empty()) message += ": " + text.message;
  if (text.code == "RequestTimeTooSkewed" || text.code == "RequestExpired") {
    message += "; the clocks differ" + ClockDifference(response, clock_.Wall());
  }
  if (const auto region = response.headers.Find("x-amz-bucket-region")) {
    if (*region != options_.region) message += "; the bucket is in " + std::string(*region);
  }
  return {meaning.code, std::move(message), meaning.hint};
}

// --- objects -----------------------------------------------------------------------------------

Result<HttpResponse> S3Store::PutOnce(const CallContext& call, std::string_view key,
                                      const ObjectBody& body, bool only_if_absent) {
  HttpRequest request = Request(HttpMethod::kPut, ObjectUrl(key));
  request.expect_continue = only_if_absent || body.size() > kExpectContinueAbove;
  if (only_if_absent) {
    request.headers.Add("if-none-match", "*");
    // Sent twice, the second one would find the object that the first one made.
    request.idempotent = false;
  }
  HF_RETURN_IF_ERROR(Sign(request, PayloadHash(body)));
  return http_.Upload(call, request, BodyOf(body.parts()));
}

Status S3Store::Put(const CallContext& call, std::string_view key, const ObjectBody& body,
                    PutMode mode) {
  HF_RETURN_IF_ERROR(CheckPut(key, body));
  const bool only_if_absent = mode == PutMode::kIfAbsent;
  const Error exists(ErrorCode::kAlreadyExists,
                     "there is an object " + std::string(key) + " already in " + Describe());
  if (only_if_absent && !no_conditional_put_) {
    HF_TRY(const HttpResponse response, PutOnce(call, key, body, true));
    if (response.ok()) return {};
    if (response.status == 412) return exists;
    if (response.status != 501) return Refused(response, "put " + std::string(key));
    no_conditional_put_ = true;
  }
  if (only_if_absent) {
    const auto there = Stat(call, key);
    if (there.ok()) return exists;
    if (there.error().code() != ErrorCode::kNotFound) return there.error();
  }
  HF_TRY(const HttpResponse response, PutOnce(call, key, body, false));
  if (!response.ok()) return Refused(response, "put " + std::string(key));
  return {};
}

Result<Bytes> S3Store::Get(const CallContext& call, std::string_view key,
                           std::optional<ByteRange> range) {
  HF_RETURN_IF_ERROR(CheckKey(key));
  // HTTP cannot ask for no bytes, nor for more than there are numbers; the object must be there.
  if (range &&
      (range->size == 0 || range->size > kObjectSizeMax || range->offset > kRangeOffsetMax)) {
    HF_TRY(const StoredObject stored, Stat(call, key));
    HF_TRY(const ByteRange wanted, CheckRange(key, range, stored.size));
    if (wanted.size == 0) return Bytes();
  }
  HttpRequest request = Request(HttpMethod::kGet, ObjectUrl(key));
  if (range) {
    request.headers.Add("range", "bytes=" + std::to_string(range->offset) + "-" +
                                     std::to_string(range->offset + range->size - 1));
  }
  HF_RETURN_IF_ERROR(Sign(request, kEmptyPayloadHash));
  ObjectSink sink(range ? range->size : kObjectSizeMax);
  const auto response = http_.Download(call, request, sink, &sink);
  const std::string doing = "get " + std::string(key);
  if (!response.ok() && !sink.too_long()) return response.error();
  if (range && (sink.too_long() || response->status == 200)) {
    return Error(ErrorCode::kUnsupported,
                 "cannot " + doing + " in " + Describe() + ": the server ignores ranges");
  }
  if (!response.ok()) return response.error().While("cannot " + doing + " in " + Describe());
  if (range && (response->status == 416 || (response->ok() && sink.bytes().size() < range->size))) {
    HF_TRY(const StoredObject stored, Stat(call, key));
    HF_TRY([[maybe_unused]] const ByteRange inside, CheckRange(key, range, stored.size));
    return Error(ErrorCode::kUnavailable,
                 "cannot " + doing + " in " + Describe() + ": the server sent less than it has");
  }
  if (!response->ok()) return Refused(*response, doing);
  return sink.Take();
}

Result<StoredObject> S3Store::Stat(const CallContext& call, std::string_view key) {
  HF_RETURN_IF_ERROR(CheckKey(key));
  const std::string doing = "look at " + std::string(key);
  HF_TRY(const HttpResponse response, Send(call, Request(HttpMethod::kHead, ObjectUrl(key))));
  if (response.status == 404) return Refused(response, doing);
  if (!response.ok()) {
    // An answer to HEAD cannot say why; the same question as a GET can.
    HttpRequest request = Request(HttpMethod::kGet, ObjectUrl(key));
    request.headers.Add("range", "bytes=0-0");
    HF_TRY(const HttpResponse reason, Send(call, std::move(request)));
    return Refused(reason.ok() ? response : reason, doing);
  }
  StoredObject object{.key = std::string(key), .size = 0, .last_modified = {}};
  const std::string_view length = response.headers.Find("content-length").value_or("");
  const auto [end, code] =
      std::from_chars(length.data(), length.data() + length.size(), object.size);
  const auto modified = ParseHttpDate(response.headers.Find("last-modified").value_or(""));
  if (code != std::errc() || end != length.data() + length.size() || !modified.ok()) {
    return Error(ErrorCode::kUnsupported,
                 "cannot " + doing + " in " + Describe() + ": the answer has no size or no time");
  }
  object.last_modified = *modified;
  return object;
}

Result<std::vector<StoredObject>> S3Store::List(const CallContext& call, std::string_view prefix,
                                                std::string_view after) {
  const std::string doing = "list " + std::string(prefix);
  const std::string whole_prefix = options_.prefix + std::string(prefix);
  std::vector<StoredObject> page;
  std::string token;
  std::string last(after);
  for (int round = 0; round < kListRoundsMax; ++round) {
    Url url = BucketUrl()
                  .With("list-type", "2")
                  .With("max-keys", std::to_string(kListPageMax - page.size()))
                  .With("prefix", whole_prefix);
    if (!token.empty()) {
      url = url.With("continuation-token", token);
    } else if (!after.empty()) {
      url = url.With("start-after", options_.prefix + std::string(after));
    }
    HttpRequest request = Request(HttpMethod::kGet, std::move(url));
    request.response_bytes_max = kListBytesMax;
    HF_TRY(const HttpResponse response, Send(call, std::move(request)));
    if (!response.ok()) return Refused(response, doing);
    auto answer = ParseS3List(response.body);
    if (!answer.ok()) return std::move(answer).error().While(Describe());

    for (StoredObject& object : answer->objects) {
      if (!object.key.starts_with(whole_prefix)) return Disordered(doing, object.key);
      object.key.erase(0, options_.prefix.size());
      if (!IsValidKey(object.key)) continue;  // Somebody else's, e.g. a console's folder marker.
      if (object.key <= last) return Disordered(doing, object.key);
      last = object.key;
      page.push_back(std::move(object));
    }
    if (!answer->truncated || page.size() >= kListPageMax) return page;
    if (answer->next_token.empty() || answer->next_token == token) break;
    token = std::move(answer->next_token);
  }
  return Error(ErrorCode::kUnavailable,
               "cannot " + doing + " in " + Describe() + ": the list does not go on");
}

Error S3Store::Disordered(std::string_view doing, const std::string& key) const {
  return {ErrorCode::kUnsupported,
          "cannot " + std::string(doing) + " in " + Describe() +
              ": the server does not list in order, or not what was asked for ('" + key + "')",
          "use a general purpose bucket"};
}

Status S3Store::Delete(const CallContext& call, std::string_view key) {
  HF_RETURN_IF_ERROR(CheckKey(key));
  HF_TRY(const HttpResponse response, Send(call, Request(HttpMethod::kDelete, ObjectUrl(key))));
  if (response.ok()) return {};
  Error error = Refused(response, "delete " + std::string(key));
  if (error.code() == ErrorCode::kNotFound) return {};
  return error;
}

Status S3Store::CreateBucket(const CallContext& call) {
  HttpRequest request = Request(HttpMethod::kPut, BucketUrl());
  if (options_.region != "us-east-1") {
    request.body =
        "<CreateBucketConfiguration xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\">"
        "<LocationConstraint>" +
        options_.region + "</LocationConstraint></CreateBucketConfiguration>";
  }
  HF_TRY(const HttpResponse response, Send(call, std::move(request)));
  if (response.ok() || ParseS3Error(response.body).code == "BucketAlreadyOwnedByYou") return {};
  return Refused(response, "make the bucket");
}

}  // namespace holdfast
