#include "repo/repository.h"
#include "repo/write/image_state.h"

namespace holdfast {

BlockSink::BlockSink(GroupCore& core, const std::string& image_key,
                     std::shared_ptr<RoomAccount> account,
                     const std::array<std::shared_ptr<ParentImage>, kParentsMax>& parents)
    : core_(core),
      parents_(parents),
      list_(core.repository, *core.outbox, image_key, ImageList::kBlocks, std::move(account)) {
  for (std::size_t i = 0; i < kParentsMax; ++i) {
    if (parents[i]) of_parent_[i].resize(parents[i]->packs().size());
  }
}

std::uint32_t BlockSink::NewLocal(std::uint8_t of, std::uint32_t index) {
  packs_.push_back({.of = of, .index = index});
  return static_cast<std::uint32_t>(packs_.size() - 1);
}

Status BlockSink::Add(const BlockRecord& record) {
  AppendBlockRecord(list_.buffer(), record);
  ++blocks_;
  return list_.Added(packs_up_to_);
}

Status BlockSink::AddOfParent(std::size_t parent, const BlockRecord& record,
                              std::uint64_t file_offset) {
  std::uint32_t& local = of_parent_[parent][record.pack];
  if (local == 0) local = NewLocal(static_cast<std::uint8_t>(parent), record.pack) + 1;
  BlockRecord own = record;
  own.pack = local - 1;
  own.file_offset = file_offset;
  return Add(own);
}

Status BlockSink::AddKnown(const Digest& name, const KnownBlock& known, std::uint64_t file_offset) {
  const auto [found, is_new] = of_directory_.try_emplace(known.pack, 0U);
  if (is_new) {
    found->second = NewLocal(kParentsMax, known.pack);
    packs_up_to_ = std::max(packs_up_to_, core_.directory.At(known.pack).number);
  }
  return Add({.block = {.name = name, .codec = known.codec, .plain_size = known.plain_size},
              .pack = found->second,
              .place = known.place,
              .file_offset = file_offset});
}

ObjectNumber BlockSink::last_number() const noexcept {
  return std::max(packs_up_to_, list_.last_number());
}

PackTable BlockSink::MakePackTable() {
  PackTable table;
  for (const LocalPack& pack : packs_) {
    GroupId attempt;
    PackId id{};
    if (pack.of < kParentsMax) {
      attempt = parents_[pack.of]->packs().group(pack.index);
      id = parents_[pack.of]->packs().id(pack.index);
    } else {
      const PackDirectory::Entry entry = core_.directory.At(pack.index);
      attempt = core_.directory.AttemptOf(entry.attempt);
      id = entry.id;
    }
    if (attempt != core_.options.group) core_.borrowed.Add(attempt, id);
    table.Add(table.AddGroup(attempt), id);
  }
  return table;
}

}  // namespace holdfast
