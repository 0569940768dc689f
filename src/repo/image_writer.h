// Takes the events of one tar and stores its files as an image.

#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

#include "base/bytes.h"
#include "base/clock.h"
#include "base/result.h"
#include "repo/group.h"
#include "stream/digest.h"
#include "stream/tar_reader.h"

namespace holdfast {

class GroupWriter;
struct ImageWriterState;

/// One image in the making, fed by a TarReader on one thread. That thread cuts and copies; naming,
/// compressing and sealing run elsewhere. It waits for the processor when there is not enough of
/// it, and for the store only as ImageOptions::when_full says (repo/group_writer.h).
///
/// After an error every later call returns that error; the image cannot be finished, the group can.
class ImageWriter final : public TarVisitor {
 public:
  /// Abandon().
  ~ImageWriter() override;
  ImageWriter(const ImageWriter&) = delete;
  ImageWriter& operator=(const ImageWriter&) = delete;

  Status OnEntry(const CallContext& call, const TarEntry& entry) override;
  /// kResourceExhausted when the store is too slow, the spool is full and the image was begun with
  /// WhenFull::kFail: abort the stream and take this shard staged.
  Status OnData(const CallContext& call, std::uint64_t file_offset, ByteView data) override;
  Status OnEntryEnd(const CallContext& call, ByteView padding) override;

  /// Ends the image. `end`: what TarReader::Finish returned; `sha256`: of the whole tar;
  /// `note_json`: the caller's own text, kept in the image's head. Everything the image needs is on
  /// its way afterwards; durable it is when GroupWriter::Commit has returned. kDataLoss when the
  /// events do not add up to `end.bytes`.
  Result<ImageRef> Finish(const CallContext& call, const TarEnd& end, const Digest& sha256,
                          std::string_view note_json);

  /// Drops the image. What was stored of it stays known to this attempt. Idempotent, no-op after
  /// Finish.
  void Abandon() noexcept;

  const std::string& label() const noexcept;
  /// Tar bytes taken so far. Thread-safe.
  std::uint64_t bytes_read() const noexcept;

 private:
  friend class GroupWriter;
  explicit ImageWriter(std::shared_ptr<ImageWriterState> state);
  std::shared_ptr<ImageWriterState> state_;
};

}  // namespace holdfast
