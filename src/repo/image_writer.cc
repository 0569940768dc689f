#include "repo/image_writer.h"

#include <fmt/format.h>

#include "repo/write/group_core.h"
#include "repo/write/image_state.h"

namespace holdfast {
namespace {

/// Runs one step of the feeding thread under a call that also ends when the attempt does; the first
/// error stays.
template <class Step>
Status Feed(ImageWriterState& state, const CallContext& call, Step step) {
  if (state.error) return *state.error;
  const BoundCall bound(call, state.core);
  Status status = state.core.status();
  if (status.ok()) status = state.core.Explain(step(bound.call()));
  if (!status.ok()) {
    state.error = status.error().While(fmt::format("store the image of {}", state.label));
    return *state.error;
  }
  return {};
}

}  // namespace

ImageWriter::ImageWriter(std::shared_ptr<ImageWriterState> state) : state_(std::move(state)) {}

ImageWriter::~ImageWriter() { Abandon(); }

Status ImageWriter::OnEntry(const CallContext& call, const TarEntry& entry) {
  return Feed(*state_, call, [&](const CallContext&) {
    return state_->BeginFile(entry.headers, entry.path, entry.real_size);
  });
}

Status ImageWriter::OnData(const CallContext& call, std::uint64_t file_offset, ByteView data) {
  return Feed(*state_, call,
              [&](const CallContext& bound) { return state_->Data(bound, file_offset, data); });
}

Status ImageWriter::OnEntryEnd(const CallContext& call, ByteView padding) {
  return Feed(*state_, call,
              [&](const CallContext& bound) { return state_->EndFile(bound, padding); });
}

Result<ImageRef> ImageWriter::Finish(const CallContext& call, const TarEnd& end,
                                     const Digest& sha256, std::string_view note_json) {
  std::optional<ImageRef> ref;
  const Status status = Feed(*state_, call, [&](const CallContext& bound) -> Status {
    HF_TRY(ref, state_->Finish(bound, end.zero_bytes, end.bytes, sha256, note_json));
    return {};
  });
  if (!status.ok()) return status.error();
  state_->on_end(&*ref);
  return *ref;
}

void ImageWriter::Abandon() noexcept {
  if (state_->finished) return;
  const bool first = !state_->abandoned.load();
  state_->Abandon();
  if (first) state_->on_end(nullptr);
}

const std::string& ImageWriter::label() const noexcept { return state_->label; }

std::uint64_t ImageWriter::bytes_read() const noexcept { return state_->bytes_read.load(); }

}  // namespace holdfast
