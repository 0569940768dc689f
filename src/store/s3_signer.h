// AWS Signature Version 4 for S3, written from the published description ("Authenticating Requests:
// Using the Authorization Header"). Pure: no clock, no I/O.

#pragma once

#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/clock.h"
#include "http/message.h"
#include "store/s3_credentials.h"

namespace holdfast {

/// SHA-256 of no bytes, in hexadecimal: the payload hash of a request without a body.
inline constexpr std::string_view kEmptyPayloadHash =
    "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

/// "20130524T000000Z".
std::string AmzDate(WallTime time);

/// Adds x-amz-date, x-amz-content-sha256, x-amz-security-token (where there is a session token) and
/// authorization to `request`. `payload_hash` is the SHA-256 of the body in lower-case hexadecimal.
/// Signs the host, every header that is in `request` now, and those added; the
/// address's path as it stands (already encoded once, as S3 wants it) and its query.
void SignS3Request(HttpRequest& request, const S3Credentials& credentials, std::string_view region,
                   std::string_view payload_hash, WallTime now);

}  // namespace holdfast
