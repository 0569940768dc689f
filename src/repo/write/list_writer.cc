#include "repo/write/list_writer.h"

#include "repo/repository.h"

namespace holdfast {

ListWriter::ListWriter(const Repository& repository, Outbox& outbox, std::string image_key,
                       ImageList list, std::shared_ptr<RoomAccount> account)
    : repository_(repository),
      outbox_(outbox),
      image_key_(std::move(image_key)),
      list_(list),
      account_(std::move(account)) {}

Status ListWriter::Added(ObjectNumber after) {
  while (buffer_.size() >= kChunkBytes) {
    const auto number = static_cast<std::uint32_t>(map_.parts.size());
    std::string key = list_ == ImageList::kBlocks ? BlockPartKey(image_key_, number)
                                                  : FilePartKey(image_key_, number);
    DocumentWriter part(repository_.keys(), repository_.random(), key);
    const std::uint32_t sealed = part.AddChunk(ByteView(buffer_).first(kChunkBytes), true);
    map_.parts.push_back({.salt = part.salt(), .chunks = {sealed}});
    Bytes object = part.Take();
    const std::uint64_t size = object.size();
    account_->ChargeAnyway(size);
    HF_TRY(last_number_, outbox_.PutDocument(std::move(key), std::move(object), after,
                                             {{.account = account_, .bytes = size}}));
    buffer_.erase(buffer_.begin(), buffer_.begin() + kChunkBytes);
  }
  return {};
}

ListMap ListWriter::Finish() {
  map_.rest = std::move(buffer_);
  return std::move(map_);
}

}  // namespace holdfast
