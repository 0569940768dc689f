#include "engine/qdrant/stored_snapshot.h"

#include "stream/nested_tar.h"

namespace holdfast::qdrant {
namespace {

class Unpacker final : public SnapshotUnpacker {
 public:
  Unpacker(std::optional<ShardId> shard, ByteSink& inner) : reader_(shard, inner) {}

  Status Write(const CallContext& call, ByteView bytes) override {
    return reader_.Write(call, bytes);
  }
  Status Finish(const CallContext& call) override {
    HF_RETURN_IF_ERROR(reader_.Finish(call));
    return {};
  }

 private:
  NestedTarReader reader_;
};

}  // namespace

std::unique_ptr<SnapshotUnpacker> NewStoredSnapshotUnpacker(std::optional<ShardId> shard,
                                                            ByteSink& inner) {
  return std::make_unique<Unpacker>(shard, inner);
}

}  // namespace holdfast::qdrant
