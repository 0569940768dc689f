#include "repo/write/packer.h"

#include "exec/wait.h"
#include "repo/repository.h"
#include "repo/write/group_core.h"
#include "repo/write/image_state.h"

namespace holdfast {

Packer::Packer(GroupCore& core)
    : core_(core),
      // Bounded by the budget of what is in flight: a push never has to wait here.
      queue_(core.repository.clock(), 2 * core.memory.in_flight_bytes),
      thread_([this](const std::stop_token& stop) { Run(stop); }) {}

Packer::~Packer() { Stop(); }

void Packer::Stop() noexcept {
  queue_.Fail(Error(ErrorCode::kCancelled, "the attempt was abandoned"));
  thread_.request_stop();
  if (thread_.joinable()) thread_.join();
}

Status Packer::Push(const CallContext& call, std::shared_ptr<Batch> batch, Pending<bool> job,
                    std::uint64_t bytes) {
  return queue_.Push(call, Item{.batch = std::move(batch), .job = std::move(job), .reached = {}},
                     bytes);
}

Status Packer::WaitUntilPacked(const CallContext& call) {
  struct Mark {
    std::mutex mutex;
    std::condition_variable_any changed;
    bool reached = false;
  };
  const auto mark = std::make_shared<Mark>();
  Item item{.batch = nullptr, .job = {}, .reached = [mark] {
              const std::scoped_lock lock(mark->mutex);
              mark->reached = true;
              mark->changed.notify_all();
            }};
  HF_RETURN_IF_ERROR(queue_.Push(call, std::move(item), 0));
  std::unique_lock lock(mark->mutex);
  return WaitUntil(call, core_.repository.clock(), mark->changed, lock,
                   [&] { return mark->reached; });
}

void Packer::RequestFlush() {
  // An error means that the attempt is over.
  static_cast<void>(
      queue_.Push({}, Item{.batch = nullptr, .job = {}, .reached = {}, .flush = true}, 0).ok());
}

void Packer::Run(const std::stop_token& stop) {
  const CallContext call{.stop = stop, .deadline = std::nullopt};
  for (;;) {
    auto item = queue_.Pop(call);
    if (!item.ok() || !item->has_value()) return;
    const Status handled = Handle(call, **item);
    if (!handled.ok()) core_.Fail(handled.error());
  }
}

Status Packer::Handle(const CallContext& call, Item& item) {
  if (item.batch) {
    const auto worked = item.job.Wait();
    if (!worked.ok()) return worked.error();
    // After a failure batches are only taken out of the way.
    if (core_.status().ok()) HF_RETURN_IF_ERROR(Pack(call, *item.batch));
  }
  if (item.reached) item.reached();
  // Whoever waits for room waits for what lies in the open pack.
  if (item.flush || (core_.room.starved() && queue_.bytes() == 0)) return Close();
  return {};
}

Status Packer::Pack(const CallContext& call, Batch& batch) {
  ImageWriterState& image = *batch.image;
  std::uint64_t sealed_bytes = 0;
  std::uint64_t known = 0;
  for (const BatchBlock& block : batch.blocks) {
    if (image.abandoned.load()) break;
    ++core_.blocks;
    if (block.fate == BatchBlock::Fate::kOfParent) {
      ++known;
      HF_RETURN_IF_ERROR(
          image.sink.AddOfParent(block.parent, *block.candidates[block.parent], block.file_offset));
      continue;
    }
    KnownBlock where = block.known;
    bool is_known = block.fate == BatchBlock::Fate::kKnown;
    if (!is_known) {
      // Another batch may have brought the same block since the job looked.
      if (const auto found = core_.known.Find(block.identity.name)) {
        where = *found;
        is_known = true;
      }
    }
    if (is_known) {
      ++known;
    } else {
      HF_RETURN_IF_ERROR(AddNew(call, batch, block, sealed_bytes, where));
      core_.bytes_new += block.size;
      image.sink.CountNew(block.size);
    }
    HF_RETURN_IF_ERROR(image.sink.AddKnown(block.identity.name, where, block.file_offset));
  }
  core_.blocks_known += known;
  // The debt of plain bytes becomes one of sealed bytes.
  if (sealed_bytes > batch.charged) {
    image.account->ChargeAnyway(sealed_bytes - batch.charged);
  } else {
    image.account->Settle(batch.charged - sealed_bytes);
  }
  core_.coded_buffers.Give(std::exchange(batch.coded, {}));
  batch.memory.Release();
  return {};
}

Status Packer::AddNew(const CallContext& call, Batch& batch, const BatchBlock& block,
                      std::uint64_t& sealed_bytes, KnownBlock& where) {
  if (open_ && !open_->builder.Fits(block.coded_size)) HF_RETURN_IF_ERROR(Close());
  if (!open_) HF_RETURN_IF_ERROR(Open(call));
  const ByteView coded = ByteView(batch.coded).subspan(block.coded_offset, block.coded_size);
  where = {.place = open_->builder.Add(block.identity, coded),
           .pack = open_->directory_index,
           .plain_size = block.identity.plain_size,
           .codec = block.identity.codec};
  core_.known.Insert(block.identity.name, where);
  const std::uint64_t bytes = where.place.sealed_size + kPackEntryBytes;
  open_->sealed[batch.image->account] += bytes;
  sealed_bytes += bytes;
  return {};
}

Status Packer::Open(const CallContext& call) {
  HF_TRY(Bytes buffer, core_.outbox->TakeBuffer(call));
  const PackId id = core_.repository.random().Draw<std::tuple_size_v<PackId>>();
  open_ = std::make_unique<OpenPack>(core_.repository.keys(), id, std::move(buffer));
  open_->number = core_.outbox->Announce();
  open_->directory_index = core_.directory.Add({.attempt = 0, .id = id, .number = open_->number});
  return {};
}

Status Packer::Close() {
  if (!open_) return {};
  const std::unique_ptr<OpenPack> pack = std::move(open_);
  pack->builder.Finish();
  std::vector<Contribution> contributions;
  for (const auto& [account, bytes] : pack->sealed) {
    contributions.push_back({.account = account, .bytes = bytes});
  }
  ++core_.packs;
  return core_.outbox->PutPack(pack->number, PackKey(core_.options.group, pack->builder.id()),
                               std::move(pack->buffer), std::move(contributions));
}

}  // namespace holdfast
