// One shard tar on its way into the repository: hashed whole, parsed, inspected and stored in one
// pass, nothing of it held.

#pragma once

#include <string>
#include <string_view>

#include "base/clock.h"
#include "base/result.h"
#include "engine/engine.h"
#include "repo/image_writer.h"
#include "stream/digest.h"
#include "stream/tar_reader.h"

namespace holdfast {

/// What became of a tar that was complete.
struct StoredTar {
  ImageRef image;
  ImageFacts facts;
};

/// One thread. `inspector` and `image` must outlive it.
class ShardPipeline final : public ByteSink, private TarVisitor {
 public:
  ShardPipeline(ImageInspector& inspector, ImageWriter& image)
      : inspector_(inspector), image_(image), reader_(*this) {}

  Status Write(const CallContext& call, ByteView bytes) override;

  /// At the end of the stream. kDataLoss unless the tar is complete in the sense of design.md: the
  /// end marker at an entry boundary, and what the inspector demands.
  Result<StoredTar> Finish(const CallContext& call, std::string_view note_json);

 private:
  Status OnEntry(const CallContext& call, const TarEntry& entry) override;
  Status OnData(const CallContext& call, std::uint64_t file_offset, ByteView data) override;
  Status OnEntryEnd(const CallContext& call, ByteView padding) override;

  ImageInspector& inspector_;
  ImageWriter& image_;
  Sha256 whole_;
  TarReader reader_;
};

}  // namespace holdfast
