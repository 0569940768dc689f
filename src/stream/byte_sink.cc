#include "stream/byte_sink.h"

#include <string>

#include "base/size.h"

namespace holdfast {

Status BytesSink::Write(const CallContext& /*call*/, ByteView bytes) {
  if (bytes.size() > bytes_max_ - bytes_.size()) {
    return Error(ErrorCode::kResourceExhausted,
                 "more than the " + FormatSize(bytes_max_) + " that are taken into memory here");
  }
  Append(bytes_, bytes);
  return {};
}

}  // namespace holdfast
