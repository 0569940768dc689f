// Fills packs: one thread that takes the finished batches of all images in the order in which they
// were cut, seals what is new and tells every image where its blocks lie.

#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <thread>
#include <utility>
#include <vector>

#include "base/clock.h"
#include "base/result.h"
#include "exec/bounded_queue.h"
#include "exec/cpu_pool.h"
#include "repo/format/pack.h"
#include "repo/write/batch.h"
#include "repo/write/outbox.h"

namespace holdfast {

class GroupCore;

class Packer {
 public:
  explicit Packer(GroupCore& core);
  /// Stop().
  ~Packer();
  Packer(const Packer&) = delete;
  Packer& operator=(const Packer&) = delete;

  /// The next batch, the job that works on it, and the memory that both take.
  Status Push(const CallContext& call, std::shared_ptr<Batch> batch, Pending<bool> job,
              std::uint64_t bytes);
  /// Blocks until everything pushed before has been packed.
  Status WaitUntilPacked(const CallContext& call);
  /// Closes the open pack behind everything pushed before. Does not wait.
  void RequestFlush();
  /// Drops what waits. Idempotent.
  void Stop() noexcept;

 private:
  struct Item {
    std::shared_ptr<Batch> batch;
    Pending<bool> job;
    /// Called when all before has been packed.
    std::function<void()> reached;
    bool flush = false;
  };
  struct OpenPack {
    OpenPack(const KeyRing& keys, const PackId& id, Bytes buffer_in)
        : buffer(std::move(buffer_in)), builder(keys, id, buffer) {}
    Bytes buffer;
    PackBuilder builder;
    ObjectNumber number = 0;
    std::uint32_t directory_index = 0;
    std::map<std::shared_ptr<RoomAccount>, std::uint64_t> sealed;
  };

  void Run(const std::stop_token& stop);
  Status Handle(const CallContext& call, Item& item);
  Status Pack(const CallContext& call, Batch& batch);
  Status AddNew(const CallContext& call, Batch& batch, const BatchBlock& block,
                std::uint64_t& sealed_bytes, KnownBlock& where);
  Status Open(const CallContext& call);
  Status Close();

  GroupCore& core_;
  BoundedQueue<Item> queue_;
  std::unique_ptr<OpenPack> open_;
  std::jthread thread_;
};

}  // namespace holdfast
