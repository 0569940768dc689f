// Turns a snapshot that was stored on the node into the form that is streamed: the segments of a
// stored snapshot are tars inside the tar (reference 4.2, 4.4), in which no block would be found
// again.

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
  std::uint64_t segments = 0;
  /// Bytes of the tar that was written.
  std::uint64_t bytes = 0;
  /// Entries of the input that belong to other shards or to the collection, and were not written.
  std::uint64_t skipped_entries = 0;
};

/// Takes the stored tar in slices and writes a shard tar that the real server accepts:
/// `segments/<uuid>/files/...`, clocks and `applied_seq.json`, `wal/` and its files, and last
/// `replica_state.json`, `shard_config.json`, end marker. Segments that are flat already pass
/// through. Constant memory: the last two files are held back, everything else passes by. One
/// thread.
///
/// kDataLoss, naming the entry, for: an outer or inner tar that is damaged or ends short (also a
/// segment's tar within a whole outer one), a segment twice, a segment without `segment.json` or
/// `version.info`, no segment at all, no `wal/` with a file, no `replica_state.json` or
/// `shard_config.json`, an entry that no shard snapshot has. kUnsupported for a partial snapshot
/// and for segments in the form before Qdrant 0.11. What was written until then is no complete tar.
class NestedTarReader final : public ByteSink {
 public:
  /// `shard`: the tar is a collection snapshot, of which this shard is wanted (`<shard>/...`).
  /// Without it, the tar is a shard snapshot. `out` must outlive the reader.
  NestedTarReader(std::optional<ShardId> shard, ByteSink& out);
  ~NestedTarReader() override;

  /// The next slice. After an error every later call returns that error again.
  Status Write(const CallContext& call, ByteView slice) override;
  /// To be called once at the end of the input: checks that all was there and writes the rest.
  Result<NestedTarEnd> Finish(const CallContext& call);

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace holdfast
