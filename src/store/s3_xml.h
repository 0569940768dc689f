// The documents that an S3 server answers with. Internal to store.

#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "store/object_store.h"

namespace holdfast {

/// What an error document says; both empty when the body is none. `message` is cut to 300
/// characters and has no control characters, so that it can be shown.
struct S3ErrorText {
  std::string code;
  std::string message;
};
S3ErrorText ParseS3Error(std::string_view body);

/// One answer to ListObjectsV2 that was asked for without encoding-type: our keys need none, and
/// servers do not agree on what a '+' means in it (seen: versitygw 1.8.0).
struct S3ListPage {
  std::vector<StoredObject> objects;
  bool truncated = false;
  std::string next_token;
};
/// kUnavailable when the document is damaged or is no list.
Result<S3ListPage> ParseS3List(std::string_view body);

}  // namespace holdfast
