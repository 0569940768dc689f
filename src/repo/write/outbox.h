// Objects on their way to the store: several puts at once, in an order that never lets an object be
// durable before what it refers to, with a spool behind for what the store cannot take yet.

#pragma once

#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <set>
#include <string>
#include <thread>
#include <vector>

#include "base/bytes.h"
#include "base/clock.h"
#include "base/result.h"
#include "base/size.h"
#include "repo/write/spool_file.h"
#include "repo/write/spool_room.h"

namespace holdfast {

class ObjectStore;

/// Objects are numbered in the order in which they were announced, from 1.
using ObjectNumber = std::uint64_t;

/// Bytes that an image has to settle when the object is durable.
struct Contribution {
  std::shared_ptr<RoomAccount> account;
  std::uint64_t bytes = 0;
};

struct OutboxOptions {
  std::size_t threads = 4;
  /// Buffers of a pack's size in all: being filled, waiting, on their way. At least 3.
  std::size_t buffers = 5;
  std::size_t buffer_bytes = 16 * kMiB;
  /// Empty: no spool.
  std::string spool_directory = {};
  std::uint64_t spool_bytes_max = 0;
};

struct OutboxStats {
  std::uint64_t objects = 0;
  std::uint64_t bytes = 0;
  std::uint64_t spool_bytes = 0;
  std::uint64_t spool_bytes_top = 0;
};

/// Thread-safe. The first object that cannot be put ends it: error() and every call give that
/// error.
class Outbox {
 public:
  /// Documents in memory that wait for others to become durable first; beyond, they go to the
  /// spool, and the open pack is asked to be closed.
  static constexpr std::uint64_t kDocumentBytesMax = 4 * kMiB;

  /// `on_failure` is called once, from any thread, when an object could not be put.
  static Result<std::unique_ptr<Outbox>> Start(ObjectStore& store, Clock& clock,
                                               const OutboxOptions& options,
                                               std::function<void(const Error&)> on_failure);
  /// Stop().
  ~Outbox();
  Outbox(const Outbox&) = delete;
  Outbox& operator=(const Outbox&) = delete;

  /// Called, without locks, when documents wait for a pack that is not handed in yet.
  void set_on_blocked(std::function<void()> on_blocked) { on_blocked_ = std::move(on_blocked); }

  /// An empty buffer with room for a pack; blocks until one is free. Goes back with PutPack or
  /// GiveBuffer.
  Result<Bytes> TakeBuffer(const CallContext& call);
  void GiveBuffer(Bytes buffer);

  /// The number of an object that will be handed in: what is handed in with `after` at or above it
  /// waits until then.
  ObjectNumber Announce();
  /// An announced object that will not come after all.
  void Withdraw(ObjectNumber number);
  /// The highest number so far.
  ObjectNumber last_number() const;

  /// Hands in an announced pack in a buffer of TakeBuffer.
  Status PutPack(ObjectNumber number, std::string key, Bytes buffer,
                 std::vector<Contribution> contributions);
  /// Hands in a document; it is put once all objects numbered up to `after` are durable.
  Result<ObjectNumber> PutDocument(std::string key, Bytes document, ObjectNumber after,
                                   std::vector<Contribution> contributions);

  /// Blocks until everything announced is durable.
  Status WaitUntilDurable(const CallContext& call);

  /// Ends all work; what is not durable is dropped. Idempotent.
  void Stop() noexcept;
  /// Nothing more is put. The first error stays.
  void Fail(Error error);
  Status status() const;
  OutboxStats stats() const;

 private:
  /// One object, in memory or in the spool.
  struct Item {
    ObjectNumber number = 0;
    ObjectNumber after = 0;
    std::string key;
    Bytes bytes;
    std::optional<SpoolFile::Piece> spooled;
    std::vector<Contribution> contributions;
    bool is_pack = false;

    std::uint64_t size() const noexcept { return spooled ? spooled->size : bytes.size(); }
  };
  using Documents = std::multimap<ObjectNumber, Item>;

  Outbox(ObjectStore& store, Clock& clock, const OutboxOptions& options,
         std::function<void(const Error&)> on_failure);

  bool EligibleLocked(ObjectNumber after) const;
  std::optional<Item> PickLocked();
  std::optional<Item> PickForSpoolLocked();
  void Upload(const std::stop_token& stop);
  void Spool(const std::stop_token& stop);
  Status PutOne(const CallContext& call, Item& item);
  void Finished(Item item);

  ObjectStore& store_;
  Clock& clock_;
  const OutboxOptions options_;
  const std::function<void(const Error&)> on_failure_;
  std::function<void()> on_blocked_;
  std::unique_ptr<SpoolFile> spool_;

  mutable std::mutex mutex_;
  std::condition_variable_any changed_;
  std::optional<Error> error_;
  bool stopped_ = false;
  ObjectNumber last_number_ = 0;
  std::set<ObjectNumber> outstanding_;
  std::vector<Bytes> free_buffers_;
  std::size_t buffer_waiters_ = 0;
  std::deque<Item> packs_;
  std::deque<Item> spooled_packs_;
  Documents documents_;
  Documents spooled_documents_;
  std::uint64_t document_bytes_ = 0;
  OutboxStats stats_;
  std::vector<std::jthread> threads_;
};

}  // namespace holdfast
