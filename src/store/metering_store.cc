#include "store/metering_store.h"

namespace holdfast {
namespace {

/// Nobody orders anything by these counters.
constexpr auto kRelaxed = std::memory_order_relaxed;

}  // namespace

void MeteringStore::CountFailure(bool ok) noexcept {
  if (!ok) failures_.fetch_add(1, kRelaxed);
}

Status MeteringStore::Put(const CallContext& call, std::string_view key, const ObjectBody& body,
                          PutMode mode) {
  puts_.fetch_add(1, kRelaxed);
  Status put = base_.Put(call, key, body, mode);
  CountFailure(put.ok());
  if (put.ok()) bytes_put_.fetch_add(body.size(), kRelaxed);
  return put;
}

Result<Bytes> MeteringStore::Get(const CallContext& call, std::string_view key,
                                 std::optional<ByteRange> range) {
  gets_.fetch_add(1, kRelaxed);
  auto got = base_.Get(call, key, range);
  CountFailure(got.ok());
  if (got.ok()) bytes_got_.fetch_add(got->size(), kRelaxed);
  return got;
}

Result<StoredObject> MeteringStore::Stat(const CallContext& call, std::string_view key) {
  stats_.fetch_add(1, kRelaxed);
  auto stat = base_.Stat(call, key);
  CountFailure(stat.ok());
  return stat;
}

Result<std::vector<StoredObject>> MeteringStore::List(const CallContext& call,
                                                      std::string_view prefix,
                                                      std::string_view after) {
  lists_.fetch_add(1, kRelaxed);
  auto page = base_.List(call, prefix, after);
  CountFailure(page.ok());
  return page;
}

Status MeteringStore::Delete(const CallContext& call, std::string_view key) {
  deletes_.fetch_add(1, kRelaxed);
  Status gone = base_.Delete(call, key);
  CountFailure(gone.ok());
  return gone;
}

StoreUsage MeteringStore::usage() const noexcept {
  return {.puts = puts_.load(kRelaxed),
          .gets = gets_.load(kRelaxed),
          .stats = stats_.load(kRelaxed),
          .lists = lists_.load(kRelaxed),
          .deletes = deletes_.load(kRelaxed),
          .failures = failures_.load(kRelaxed),
          .bytes_put = bytes_put_.load(kRelaxed),
          .bytes_got = bytes_got_.load(kRelaxed)};
}

}  // namespace holdfast
