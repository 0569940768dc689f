// Any bytes as a stored snapshot: what is taken must give a whole shard tar.

#include <algorithm>
#include <cstdint>
#include <optional>
#include <string>

#include "base/assert.h"
#include "stream/nested_tar.h"
#include "stream/tar_reader.h"
#include "tests/fuzz/tar_mutator.h"

namespace holdfast {
namespace {

/// Outputs beyond this are not written on: a hole of an exabyte is legal.
constexpr std::size_t kMemory = std::size_t{8} << 20;

class LastPaths final : public TarVisitor {
 public:
  Status OnEntry(const CallContext&, const TarEntry& entry) override {
    before_last = last;
    last = entry.path;
    return {};
  }
  Status OnData(const CallContext&, std::uint64_t, ByteView) override { return {}; }
  Status OnEntryEnd(const CallContext&, ByteView) override { return {}; }
  std::string before_last;
  std::string last;
};

}  // namespace
}  // namespace holdfast

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace holdfast;
  if (size == 0) return 0;
  const ByteView tar = std::as_bytes(std::span(data, size)).subspan(1);
  BytesSink sink(kMemory);
  std::optional<ShardId> shard;
  if ((data[0] & 1) != 0) shard = ShardId(0);
  NestedTarReader reader(shard, sink);
  const std::size_t slice = 1 + std::size_t{data[0]} * 16;
  for (std::size_t at = 0; at < tar.size(); at += slice) {
    if (!reader.Write({}, tar.subspan(at, std::min(slice, tar.size() - at))).ok()) return 0;
  }
  const auto end = reader.Finish({});
  if (!end.ok()) return 0;
  HF_ASSERT(end->bytes == sink.bytes().size() && end->segments > 0);
  LastPaths paths;
  TarReader check(paths);
  HF_ASSERT(check.Write({}, sink.bytes()).ok());
  HF_ASSERT(check.Finish().ok());
  HF_ASSERT(paths.before_last == "replica_state.json" && paths.last == "shard_config.json");
  return 0;
}
