// Sources that a restore reads through. For .cc files only.

#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <utility>

#include "base/size.h"
#include "job/progress.h"
#include "model/group.h"
#include "repo/image_reader.h"
#include "stream/byte_source.h"

namespace holdfast {

/// Reads a tombstone file line by line.
class LineReader {
 public:
  explicit LineReader(ByteSource& source) : source_(source) {}
  /// Empty at the end.
  Result<std::string> Next(const CallContext& call) {
    for (;;) {
      if (const std::size_t end = text_.find('\n'); end != std::string::npos) {
        std::string line = text_.substr(0, end);
        text_.erase(0, end + 1);
        return line;
      }
      HF_TRY(const std::size_t got, source_.Read(call, buffer_));
      if (got == 0) return std::exchange(text_, {});
      text_ += AsText(ByteView(buffer_).first(got));
    }
  }

 private:
  ByteSource& source_;
  Bytes buffer_ = Bytes(64 * kKiB);
  std::string text_;
};

/// Opens the image of a shard. kDataLoss when it is not the one that the collection's record names.
inline Result<std::unique_ptr<ImageReader>> OpenImage(const CallContext& call,
                                                      Repository& repository,
                                                      const ShardImage& image) {
  HF_TRY(auto reader, ImageReader::Open(call, repository, image.image));
  if (reader->size() == image.tar_bytes && ToHex(reader->sha256()) == image.tar_sha256) {
    return reader;
  }
  return Error(ErrorCode::kDataLoss,
               "image " + image.image + " is not the one that the collection's record names");
}

class CountedSource final : public ByteSource {
 public:
  CountedSource(ByteSource& inner, Progress& progress, std::string lane)
      : inner_(inner), progress_(progress), lane_(std::move(lane)) {}
  Result<std::size_t> Read(const CallContext& call, std::span<std::byte> into) override {
    HF_TRY(const std::size_t got, inner_.Read(call, into));
    progress_.AddBytes(lane_, got);
    return got;
  }

 private:
  ByteSource& inner_;
  Progress& progress_;
  const std::string lane_;
};

}  // namespace holdfast
