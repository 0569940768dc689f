#include "repo/write/group_core.h"

#include <algorithm>

#include "repo/format/pack.h"
#include "repo/repository.h"
#include "repo/write/image_state.h"
#include "repo/write/packer.h"
#include "repo/write/parent_loader.h"

namespace holdfast {
namespace {

/// What ten images need beside the buffers of packs: cutting, comparing, lists, names, tables.
constexpr std::uint64_t kFixedBytes = 96 * kMiB;
constexpr std::size_t kPackBuffersLeast = 4;
constexpr std::uint64_t kInFlightLeast = 16 * kMiB;
constexpr std::uint64_t kInFlightPerThread = 4 * kMiB;
constexpr std::size_t kLoaderThreads = 4;

}  // namespace

MemoryPlan PlanMemory(const GroupWriterOptions& options, std::size_t cpu_threads) {
  MemoryPlan plan;
  const std::uint64_t for_packs =
      options.memory_bytes_max > kFixedBytes ? options.memory_bytes_max - kFixedBytes : 0;
  // One is filled and one waits; more than the uploads can hold besides are of no use.
  plan.pack_buffers =
      std::clamp<std::size_t>(for_packs / kPackBytesWanted, kPackBuffersLeast,
                              std::max(kPackBuffersLeast, options.upload_threads + 2));
  plan.in_flight_bytes = std::max(kInFlightLeast, cpu_threads * kInFlightPerThread);
  plan.room_bytes = (plan.pack_buffers - 2) * kPackBytesWanted;
  if (!options.spool_directory.empty()) {
    plan.room_bytes += options.spool_bytes_max / kPackBytesWanted * kPackBytesWanted;
  }
  return plan;
}

GroupCore::GroupCore(Repository& repository_in, CpuPool& pool_in, GroupWriterOptions options_in)
    : repository(repository_in),
      pool(pool_in),
      options(std::move(options_in)),
      memory(PlanMemory(options, pool.threads())),
      room(repository.clock(), memory.room_bytes),
      in_flight(repository.clock(), memory.in_flight_bytes),
      known(options.known_blocks_max),
      directory(options.group) {}

GroupCore::~GroupCore() { Stop(Error(ErrorCode::kCancelled, "the attempt was abandoned")); }

Status GroupCore::Start() {
  const OutboxOptions outbox_options{
      .threads = options.upload_threads,
      .buffers = memory.pack_buffers,
      .buffer_bytes = kPackBytesWanted,
      .spool_directory = options.spool_directory,
      .spool_bytes_max = options.spool_bytes_max / kPackBytesWanted * kPackBytesWanted};
  HF_TRY(outbox, Outbox::Start(repository.store(), repository.clock(), outbox_options,
                               [this](const Error& error) { Fail(error); }));
  packer = std::make_unique<Packer>(*this);
  loader = std::make_unique<ParentLoader>(*this, kLoaderThreads);
  outbox->set_on_blocked([this] { packer->RequestFlush(); });
  room.set_on_wait([this] { packer->RequestFlush(); });
  return {};
}

void GroupCore::Stop(Error why) noexcept {
  Fail(why);
  if (loader) loader->Stop();
  if (packer) packer->Stop();
  if (outbox) outbox->Stop();
}

void GroupCore::Fail(const Error& error) {
  {
    const std::scoped_lock lock(mutex_);
    if (error_) return;
    error_ = error;
  }
  stop.request_stop();
  if (outbox) outbox->Fail(error);
}

Status GroupCore::status() const {
  const std::scoped_lock lock(mutex_);
  if (error_) return *error_;
  return {};
}

Status GroupCore::Explain(Status status_in) const {
  if (status_in.ok()) return status_in;
  const std::scoped_lock lock(mutex_);
  if (error_ && status_in.error().code() == ErrorCode::kCancelled) return *error_;
  return status_in;
}

Status GroupCore::Dispatch(const CallContext& call, std::shared_ptr<Batch> batch) {
  // Plain bytes, and at most as many coded ones.
  const std::uint64_t bytes = 2 * batch->plain.size();
  HF_TRY(batch->memory, in_flight.Acquire(call, bytes));
  batch->coded = coded_buffers.Take();
  HF_TRY(auto job, pool.Submit(call, [this, batch]() -> Result<bool> {
    auto codec = codecs.Take();
    WorkOnBatch(repository.keys(), known, *codec, *batch);
    codecs.Give(std::move(codec));
    plain_buffers.Give(std::exchange(batch->plain, {}));
    batch->memory.Shrink(batch->coded.size());
    return true;
  }));
  // From Submit on the batch belongs to the pool's thread, until the packer has waited for it.
  return packer->Push(call, std::move(batch), std::move(job), bytes);
}

void GroupCore::Warn(std::string warning) {
  const std::scoped_lock lock(mutex_);
  warnings_.push_back(std::move(warning));
}

std::vector<std::string> GroupCore::warnings() const {
  const std::scoped_lock lock(mutex_);
  return warnings_;
}

}  // namespace holdfast
