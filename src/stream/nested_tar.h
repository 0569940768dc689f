// Turns a snapshot that was stored on the node into the form that is streamed: segments of a stored
// snapshot are tars inside the tar (reference 4.2, 4.4), in which no block would be found again.

#pragma once

#include <cstdint>
#include <memory>
#include <optional>

#include "base/ids.h"
#include "base/result.h"
#include "stream/byte_sink.h"

namespace holdfast {

/// What came out of a stored snapshot.
struct NestedTarEnd {
  /// Segments that were unpacked (or already were flat).
  std::uint64_t segments = 0;
  /// Bytes of the tar that was written.
  std::uint64_t bytes = 0;
  /// Entries of the input that belong to other shards or to the collection; not written.
  std::uint64_t skipped_entries = 0;
};

/// Takes the stored tar in slices and writes a shard tar that the real server accepts:
/// `segments/<uuid>/files/...`, clocks and `applied_seq.json`, `wal/` and its files,
/// `replica_state.json`, `shard_config.json`, end marker. Constant memory: the last two are held
/// back (1 MiB each at most), everything else passes through. One thread.
///
/// kDataLoss, naming the entry, for: an outer or inner tar that is damaged or ends short, a segment
/// file twice, a segment without `segment.json` or `version.info`, no segment, no WAL file, no
/// `replica_state.json` with "is_local": true, no `shard_config.json`, anything unknown in the
/// shard's folder. What was written by then is not a complete tar.
class NestedTarReader final : public ByteSink {
 public:
  /// `shard`: the tar is a collection snapshot, of which this shard is wanted (`<shard>/...`);
  /// without it, a shard snapshot. `out` must outlive the reader.
  NestedTarReader(std::optional<ShardId> shard, ByteSink& out);
  ~NestedTarReader() override;

  Status Write(const CallContext& call, ByteView slice) override;
  /// At the end of the input: checks that all was there and writes the last entries.
  Result<NestedTarEnd> Finish(const CallContext& call);

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace holdfast
