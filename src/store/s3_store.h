// A bucket of an S3-compatible server as object store.

#pragma once

#include <atomic>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/clock.h"
#include "http/client.h"
#include "store/object_store.h"
#include "store/s3_credentials.h"

namespace holdfast {

struct S3Options {
  /// "https://s3.eu-central-1.amazonaws.com", "http://127.0.0.1:7070". Without path and query.
  Url endpoint = {};
  std::string region = "us-east-1";
  std::string bucket = {};
  /// Put in front of every key, e.g. "backups/prod/"; may be empty; ends with '/' otherwise.
  std::string prefix = {};
  /// False: endpoint/bucket/key. True: bucket.endpoint/key, as AWS wants it for new buckets.
  bool virtual_host = false;
  HttpTimeouts timeouts = {};
};

/// Every put is one signed request with the real SHA-256 of its body, so that bytes damaged on the
/// way are refused by the server. Nothing is retried here: RetryingStore does that.
///
/// How S3's answers become codes: SlowDown, 429, 5xx, timeouts, damaged payload -> kUnavailable;
/// 403 -> kPermissionDenied with what the server said; clocks apart, no such bucket ->
/// kFailedPrecondition; wrong region -> kConfiguration; quota -> kResourceExhausted; 412 on a
/// kIfAbsent put -> kAlreadyExists; 501, a server that ignores Range or lists without order ->
/// kUnsupported. A server that knows no conditional put (501) gets a look and then a plain put.
class S3Store final : public ObjectStore {
 public:
  /// kConfiguration when an option cannot be right. Talks to nobody. `http` and `clock` must
  /// outlive the store; `clock`'s wall time is signed, so it must be close to the server's.
  static Result<std::unique_ptr<S3Store>> Create(HttpClient& http, Clock& clock, S3Options options,
                                                 std::shared_ptr<S3CredentialsSource> credentials);

  Status Put(const CallContext& call, std::string_view key, const ObjectBody& body,
             PutMode mode) override;
  Result<Bytes> Get(const CallContext& call, std::string_view key,
                    std::optional<ByteRange> range = std::nullopt) override;
  Result<StoredObject> Stat(const CallContext& call, std::string_view key) override;
  Result<std::vector<StoredObject>> List(const CallContext& call, std::string_view prefix,
                                         std::string_view after) override;
  Status Delete(const CallContext& call, std::string_view key) override;
  std::string Describe() const override;

  /// Makes the bucket. OK when it is there already and ours. For the sandbox and for tests.
  Status CreateBucket(const CallContext& call);

 private:
  S3Store(HttpClient& http, Clock& clock, S3Options options,
          std::shared_ptr<S3CredentialsSource> credentials);

  Url BucketUrl() const;
  Url ObjectUrl(std::string_view key) const;
  HttpRequest Request(HttpMethod method, Url url) const;
  Status Sign(HttpRequest& request, std::string_view payload_hash);
  Result<HttpResponse> Send(const CallContext& call, HttpRequest request);
  Result<HttpResponse> PutOnce(const CallContext& call, std::string_view key,
                               const ObjectBody& body, bool only_if_absent);
  /// What an answer that is no success means for `doing`.
  Error Refused(const HttpResponse& response, std::string_view doing) const;
  Error Disordered(std::string_view doing, const std::string& key) const;

  HttpClient& http_;
  Clock& clock_;
  const S3Options options_;
  const std::shared_ptr<S3CredentialsSource> credentials_;
  /// Set once the server has answered 501 to a conditional put.
  std::atomic<bool> no_conditional_put_ = false;
};

}  // namespace holdfast
