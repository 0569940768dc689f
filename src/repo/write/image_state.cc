#include "repo/write/image_state.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/assert.h"
#include "exec/wait.h"
#include "repo/format/config.h"
#include "repo/repository.h"
#include "repo/write/packer.h"
#include "repo/write/parent_loader.h"

namespace holdfast {
namespace {

/// Batches of one image that wait for its parent's records; beyond, the oldest goes without them.
constexpr std::size_t kParkedMax = 8;
/// Room for the block that fills a batch up.
constexpr std::size_t kBatchReserve = kBatchBytes + kBlockBytesMost;

}  // namespace

ImageWriterState::ImageWriterState(GroupCore& core_in, std::string label_in, std::string key_in,
                                   SpoolLease room, WhenFull when_full_in,
                                   std::array<std::shared_ptr<ParentImage>, kParentsMax> parents_in)
    : core(core_in),
      label(std::move(label_in)),
      key(std::move(key_in)),
      when_full(when_full_in),
      parents(std::move(parents_in)),
      account(std::make_shared<RoomAccount>(core.room, room.bytes(), when_full)),
      sink(core, key, account, parents),
      files_(core.repository, *core.outbox, key, ImageList::kFiles, account) {
  // The room is the account's now.
  room.room_ = nullptr;
  room.bytes_ = 0;
}

void ImageWriterState::CountRead(std::uint64_t bytes) noexcept {
  bytes_read += bytes;
  core.bytes_read += bytes;
}

Status ImageWriterState::BeginFile(ByteView headers, const std::string& path,
                                   std::uint64_t real_size) {
  file_.headers.assign(headers.begin(), headers.end());
  file_.path = path;
  file_.real_size = real_size;
  file_.stored_size = 0;
  file_.first_block = block_count_;
  file_.padding.clear();
  for (std::size_t i = 0; i < kParentsMax; ++i) {
    spans_[i] = {};
    if (!parents[i] || parents[i]->dropped()) continue;
    if (const auto span = parents[i]->FindFile(path)) spans_[i] = *span;
  }
  CountRead(headers.size());
  return {};
}

void ImageWriterState::StartBlock(std::uint64_t file_offset) {
  if (!batch_) {
    batch_ = std::make_shared<Batch>();
    batch_->plain = core.plain_buffers.Take();
    batch_->plain.reserve(kBatchReserve);
  }
  in_block_ = true;
  block_begin_ = static_cast<std::uint32_t>(batch_->plain.size());
  block_file_offset_ = file_offset;
  next_offset_ = file_offset;
}

Status ImageWriterState::Data(const CallContext& call, std::uint64_t file_offset, ByteView data) {
  const std::uint64_t block_bytes = core.repository.block_bytes();
  CountRead(data.size());
  file_.stored_size += data.size();
  if (in_block_ && file_offset != next_offset_) HF_RETURN_IF_ERROR(CloseBlock(call));
  while (!data.empty()) {
    if (!in_block_) StartBlock(file_offset);
    const std::uint64_t left = block_bytes - file_offset % block_bytes;
    const std::size_t size = std::min<std::uint64_t>(left, data.size());
    Append(batch_->plain, data.first(size));
    data = data.subspan(size);
    file_offset += size;
    next_offset_ = file_offset;
    if (size == left) HF_RETURN_IF_ERROR(CloseBlock(call));
  }
  return {};
}

Status ImageWriterState::CloseBlock(const CallContext& call) {
  in_block_ = false;
  ++block_count_;
  BatchBlock& block = batch_->blocks.emplace_back();
  block.file_offset = block_file_offset_;
  block.offset = block_begin_;
  block.size = static_cast<std::uint32_t>(batch_->plain.size() - block_begin_);
  block.spans = spans_;
  if (batch_->plain.size() < kBatchBytes && batch_->blocks.size() < kBatchBlocks) return {};
  return SubmitBatch(call);
}

Status ImageWriterState::EndFile(const CallContext& call, ByteView padding) {
  if (in_block_) HF_RETURN_IF_ERROR(CloseBlock(call));
  file_.block_count = block_count_ - file_.first_block;
  file_.padding.assign(padding.begin(), padding.end());
  if (!file_.headers.empty()) CountRead(TarPaddingBytes(file_.stored_size));
  AppendFileRecord(files_.buffer(), file_);
  ++file_count_;
  return files_.Added(0);
}

Status ImageWriterState::SubmitBatch(const CallContext& call) {
  if (!batch_ || batch_->blocks.empty()) return {};
  const std::shared_ptr<Batch> batch = std::exchange(batch_, nullptr);
  batch->image = shared_from_this();
  HF_RETURN_IF_ERROR(account->Charge(call, batch->plain.size()));
  batch->charged = batch->plain.size();
  std::unique_lock lock(park_mutex_);
  if (parked_.empty()) {
    const auto need = Resolve(*batch);
    // Under the lock, so that batches keep their order.
    if (!need) return core.Dispatch(call, batch);
    core.loader->Request(shared_from_this(), parents[need->parent], need->block);
  }
  return Park(call, lock, batch);
}

Status ImageWriterState::Park(const CallContext& call, std::unique_lock<std::mutex>& lock,
                              std::shared_ptr<Batch> batch) {
  parked_.push_back(std::move(batch));
  if (when_full == WhenFull::kWait) {
    return WaitUntil(call, core.repository.clock(), unparked_, lock,
                     [&] { return parked_.empty(); });
  }
  while (parked_.size() > kParkedMax) {
    const std::shared_ptr<Batch> oldest = std::move(parked_.front());
    parked_.pop_front();
    HF_RETURN_IF_ERROR(core.Dispatch(call, oldest));
  }
  return {};
}

void ImageWriterState::ResumeParked() {
  const CallContext call{.stop = core.stop.get_token(), .deadline = std::nullopt};
  const std::scoped_lock lock(park_mutex_);
  while (!parked_.empty()) {
    if (const auto need = Resolve(*parked_.front())) {
      core.loader->Request(shared_from_this(), parents[need->parent], need->block);
      return;
    }
    const std::shared_ptr<Batch> batch = std::move(parked_.front());
    parked_.pop_front();
    // An error here means that the attempt is over, which the feeding thread hears by itself.
    if (!core.Dispatch(call, batch).ok()) parked_.clear();
  }
  unparked_.notify_all();
}

std::optional<ImageWriterState::Need> ImageWriterState::Resolve(Batch& batch) {
  for (; batch.resolved < batch.blocks.size(); ++batch.resolved) {
    BatchBlock& block = batch.blocks[batch.resolved];
    for (std::size_t parent = 0; parent < kParentsMax; ++parent) {
      if (const auto need = ResolveOne(parent, block)) return need;
    }
  }
  for (std::size_t i = 0; i < kParentsMax; ++i) {
    if (!parents[i] || parents[i]->dropped()) continue;
    if (const auto next = parents[i]->WorthReading(cursors_[i].next)) {
      core.loader->Request(shared_from_this(), parents[i], *next);
    }
  }
  return std::nullopt;
}

std::optional<ImageWriterState::Need> ImageWriterState::ResolveOne(std::size_t index,
                                                                   BatchBlock& block) {
  const ParentSpan& span = block.spans[index];
  if (span.count == 0 || parents[index]->dropped()) return std::nullopt;
  Cursor& cursor = cursors_[index];
  if (cursor.span_first != span.first) cursor = {.span_first = span.first, .next = span.first};
  for (; cursor.next < span.first + span.count; ++cursor.next) {
    const auto record = parents[index]->TryRecord(cursor.next);
    if (!record.ok()) {
      DropParent(index, record.error());
      return std::nullopt;
    }
    if (!*record) return Need{.parent = index, .block = cursor.next};
    const BlockRecord& there = **record;
    if (there.file_offset < block.file_offset) continue;
    if (there.file_offset == block.file_offset && parents[index]->MayBorrow(there.pack)) {
      block.candidates[index] = there;
    }
    return std::nullopt;
  }
  return std::nullopt;
}

void ImageWriterState::DropParent(std::size_t index, const Error& why) {
  parents[index]->Drop();
  core.Warn(fmt::format("an older image of {} is not used, its blocks are stored again: {}", label,
                        why.message()));
}

Status ImageWriterState::WaitUntilUnparked(const CallContext& call) {
  std::unique_lock lock(park_mutex_);
  return WaitUntil(call, core.repository.clock(), unparked_, lock, [&] { return parked_.empty(); });
}

Result<ImageRef> ImageWriterState::Finish(const CallContext& call, std::uint64_t zero_bytes,
                                          std::uint64_t expected_bytes, const Digest& sha256,
                                          std::string_view note) {
  CountRead(zero_bytes);
  if (bytes_read.load() != expected_bytes) {
    return Error(ErrorCode::kDataLoss,
                 fmt::format("the image of {} was given {} bytes of a tar of {}", label,
                             bytes_read.load(), expected_bytes));
  }
  HF_RETURN_IF_ERROR(SubmitBatch(call));
  HF_RETURN_IF_ERROR(WaitUntilUnparked(call));
  HF_RETURN_IF_ERROR(core.packer->WaitUntilPacked(call));
  HF_RETURN_IF_ERROR(core.status());
  HF_ASSERT(sink.blocks() == block_count_);
  HF_TRY(ImageRef ref, MakeHead(zero_bytes, sha256, note));
  account->Close();
  finished = true;
  return ref;
}

Result<ImageRef> ImageWriterState::MakeHead(std::uint64_t zero_bytes, const Digest& sha256,
                                            std::string_view note) {
  ImageHead head;
  head.label = label;
  head.bytes = bytes_read.load();
  head.sha256 = sha256;
  head.files = file_count_;
  head.blocks = block_count_;
  head.bytes_new = sink.bytes_new();
  head.note = std::string(note);
  const ObjectNumber after = std::max(sink.last_number(), files_.last_number());
  head.block_list = sink.FinishList();
  head.file_list = files_.Finish();
  head.packs = sink.MakePackTable();
  head.zero_bytes = zero_bytes;
  HF_TRY(const Bytes content, WriteImageHead(head));
  HF_TRY(Bytes document,
         SealDocument(core.repository.keys(), core.repository.random(), key, content));
  const std::uint64_t size = document.size();
  account->ChargeAnyway(size);
  HF_RETURN_IF_ERROR(core.outbox->PutDocument(key, std::move(document), after,
                                              {{.account = account, .bytes = size}}));
  return ImageRef{.key = key,
                  .label = label,
                  .bytes = head.bytes,
                  .sha256 = sha256,
                  .files = head.files,
                  .blocks = head.blocks,
                  .bytes_new = head.bytes_new};
}

void ImageWriterState::Abandon() noexcept {
  if (abandoned.exchange(true)) return;
  core.bytes_read -= bytes_read.load();
  batch_.reset();
  {
    const std::scoped_lock lock(park_mutex_);
    parked_.clear();
    unparked_.notify_all();
  }
  account->Close();
}

}  // namespace holdfast
