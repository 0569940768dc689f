// What the parts of one attempt share.

#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "base/clock.h"
#include "base/result.h"
#include "exec/bounded_queue.h"
#include "exec/cpu_pool.h"
#include "exec/linked_stop.h"
#include "exec/memory_budget.h"
#include "repo/group_writer.h"
#include "repo/write/batch.h"
#include "repo/write/borrowed_packs.h"
#include "repo/write/known_blocks.h"
#include "repo/write/outbox.h"
#include "repo/write/pack_directory.h"
#include "repo/write/spool_room.h"

namespace holdfast {

class Packer;
class ParentLoader;
class Repository;

/// How the memory of an attempt is shared out.
struct MemoryPlan {
  std::size_t pack_buffers = 4;
  std::uint64_t in_flight_bytes = 0;
  std::uint64_t room_bytes = 0;
};
MemoryPlan PlanMemory(const GroupWriterOptions& options, std::size_t cpu_threads);

/// Thread-safe.
class GroupCore {
 public:
  GroupCore(Repository& repository_in, CpuPool& pool_in, GroupWriterOptions options_in);
  /// Stop().
  ~GroupCore();
  GroupCore(const GroupCore&) = delete;
  GroupCore& operator=(const GroupCore&) = delete;

  /// Starts the threads.
  Status Start();
  /// Ends all threads; the first call decides what everybody is told.
  void Stop(Error why) noexcept;

  /// Ends the attempt with `error`, unless it has ended already.
  void Fail(const Error& error);
  /// The error that ended the attempt.
  Status status() const;
  /// `status`, or what ended the attempt where that is why.
  Status Explain(Status status) const;

  /// Hands a batch to the CPU pool and its outcome, in order, to the packer. Waits for memory.
  Status Dispatch(const CallContext& call, std::shared_ptr<Batch> batch);

  void Warn(std::string warning);
  std::vector<std::string> warnings() const;

  Repository& repository;
  CpuPool& pool;
  const GroupWriterOptions options;
  const MemoryPlan memory;

  std::stop_source stop;
  SpoolRoom room;
  MemoryBudget in_flight;
  BufferPool plain_buffers;
  BufferPool coded_buffers;
  CodecPool codecs;
  KnownBlocks known;
  PackDirectory directory;
  BorrowedPacks borrowed;
  std::unique_ptr<Outbox> outbox;
  std::unique_ptr<Packer> packer;
  std::unique_ptr<ParentLoader> loader;

  std::atomic<std::uint64_t> bytes_read = 0;
  std::atomic<std::uint64_t> bytes_new = 0;
  std::atomic<std::uint64_t> blocks = 0;
  std::atomic<std::uint64_t> blocks_known = 0;
  std::atomic<std::uint64_t> packs = 0;
  std::atomic<std::uint64_t> manifest_bytes = 0;

 private:
  mutable std::mutex mutex_;
  std::optional<Error> error_;
  std::vector<std::string> warnings_;
};

/// A call that also ends when the attempt does.
class BoundCall {
 public:
  BoundCall(const CallContext& call, const GroupCore& core)
      : linked_(call.stop),
        also_(core.stop.get_token(), Fire{&linked_}),
        call_(linked_.Bind(call)) {}
  BoundCall(const BoundCall&) = delete;
  BoundCall& operator=(const BoundCall&) = delete;

  const CallContext& call() const noexcept { return call_; }

 private:
  struct Fire {
    LinkedStop* linked;
    void operator()() const noexcept { linked->Stop(); }
  };
  LinkedStop linked_;
  std::stop_callback<Fire> also_;
  const CallContext call_;
};

}  // namespace holdfast
