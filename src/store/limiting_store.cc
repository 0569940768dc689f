#include "store/limiting_store.h"

#include <utility>

#include "exec/wait.h"

namespace holdfast {
namespace {

/// What may pass at once after a pause: half a second's worth.
std::uint64_t Burst(std::uint64_t bytes_per_second) { return bytes_per_second / 2 + 1; }

}  // namespace

/// One call's place, given back when it dies.
class LimitingStore::Place {
 public:
  explicit Place(LimitingStore& store) : store_(&store) {}
  Place(Place&& other) noexcept : store_(std::exchange(other.store_, nullptr)) {}
  Place& operator=(Place&&) = delete;
  Place(const Place&) = delete;
  Place& operator=(const Place&) = delete;
  ~Place() {
    if (store_ == nullptr) return;
    const std::scoped_lock lock(store_->mutex_);
    ++store_->free_places_;
    store_->changed_.notify_all();
  }

 private:
  LimitingStore* store_;
};

LimitingStore::LimitingStore(ObjectStore& base, StoreLimits limits, Clock& clock)
    : base_(base),
      clock_(clock),
      free_places_(limits.calls_max),
      rate_(clock, limits.bytes_per_second, Burst(limits.bytes_per_second)) {
  HF_ASSERT(limits.calls_max >= 1);
}

Result<LimitingStore::Place> LimitingStore::Enter(const CallContext& call) {
  std::unique_lock lock(mutex_);
  HF_RETURN_IF_ERROR(WaitUntil(call, clock_, changed_, lock, [this] { return free_places_ > 0; }));
  --free_places_;
  return Place(*this);
}

Status LimitingStore::Put(const CallContext& call, std::string_view key, const ObjectBody& body,
                          PutMode mode) {
  HF_RETURN_IF_ERROR(rate_.Acquire(call, body.size()));
  HF_TRY(const Place place, Enter(call));
  return base_.Put(call, key, body, mode);
}

Result<Bytes> LimitingStore::Get(const CallContext& call, std::string_view key,
                                 std::optional<ByteRange> range) {
  auto got = [&]() -> Result<Bytes> {
    HF_TRY(const Place place, Enter(call));
    return base_.Get(call, key, range);
  }();
  // Only now is known how much it is when the whole object was asked for.
  if (got.ok()) HF_RETURN_IF_ERROR(rate_.Acquire(call, got->size()));
  return got;
}

Result<StoredObject> LimitingStore::Stat(const CallContext& call, std::string_view key) {
  HF_TRY(const Place place, Enter(call));
  return base_.Stat(call, key);
}

Result<std::vector<StoredObject>> LimitingStore::List(const CallContext& call,
                                                      std::string_view prefix,
                                                      std::string_view after) {
  HF_TRY(const Place place, Enter(call));
  return base_.List(call, prefix, after);
}

Status LimitingStore::Delete(const CallContext& call, std::string_view key) {
  HF_TRY(const Place place, Enter(call));
  return base_.Delete(call, key);
}

}  // namespace holdfast
