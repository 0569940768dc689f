// Who we are to an S3 server.

#pragma once

#include <memory>
#include <mutex>
#include <string>

#include "base/result.h"
#include "base/secret.h"

namespace holdfast {

/// A plain value; never printed.
struct S3Credentials {
  std::string access_key;
  Secret secret_key;
  /// Empty unless the credentials are temporary.
  Secret session_token;
};

/// Gives the credentials for the next request. Thread-safe.
class S3CredentialsSource {
 public:
  virtual ~S3CredentialsSource() = default;
  virtual Result<std::shared_ptr<const S3Credentials>> Get() = 0;
};

/// Always the same ones.
std::shared_ptr<S3CredentialsSource> StaticS3Credentials(S3Credentials credentials);

/// AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY and AWS_SESSION_TOKEN, read once now. kConfiguration
/// naming the variable that is missing. To be called before threads are started.
Result<std::shared_ptr<S3CredentialsSource>> S3CredentialsFromEnvironment();

/// A file as the AWS tools have it: sections "[profile]" with aws_access_key_id,
/// aws_secret_access_key and aws_session_token. Read again when it has changed, so that credentials
/// can be rotated under a running process. kConfiguration naming file and profile, never a value.
Result<std::shared_ptr<S3CredentialsSource>> S3CredentialsFromFile(std::string path,
                                                                   std::string profile = "default");

}  // namespace holdfast
