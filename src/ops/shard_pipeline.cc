#include "ops/shard_pipeline.h"

#include <utility>

namespace holdfast {

Status ShardPipeline::Write(const CallContext& call, ByteView bytes) {
  whole_.Update(bytes);
  return reader_.Write(call, bytes);
}

Status ShardPipeline::OnEntry(const CallContext& call, const TarEntry& entry) {
  HF_RETURN_IF_ERROR(inspector_.OnEntry(call, entry));
  return image_.OnEntry(call, entry);
}

Status ShardPipeline::OnData(const CallContext& call, std::uint64_t file_offset, ByteView data) {
  HF_RETURN_IF_ERROR(inspector_.OnData(call, file_offset, data));
  return image_.OnData(call, file_offset, data);
}

Status ShardPipeline::OnEntryEnd(const CallContext& call, ByteView padding) {
  HF_RETURN_IF_ERROR(inspector_.OnEntryEnd(call, padding));
  return image_.OnEntryEnd(call, padding);
}

Result<StoredTar> ShardPipeline::Finish(const CallContext& call, std::string_view note_json) {
  HF_TRY(const TarEnd end, reader_.Finish());
  HF_TRY(ImageFacts facts, inspector_.Finish(call));
  HF_TRY(ImageRef image, image_.Finish(call, end, whole_.Finish(), note_json));
  return StoredTar{.image = std::move(image), .facts = std::move(facts)};
}

}  // namespace holdfast
