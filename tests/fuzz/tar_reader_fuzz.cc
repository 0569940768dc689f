// Any bytes through the tar reader: it must judge alike in any slices, and what it takes must come
// out again byte for byte.

#include <algorithm>
#include <cstdint>
#include <optional>

#include "base/assert.h"
#include "stream/tar_reader.h"
#include "stream/tar_writer.h"
#include "tests/fuzz/tar_mutator.h"

namespace holdfast {
namespace {

constexpr std::size_t kMemory = std::size_t{64} << 20;

/// Writes what is read.
class Rewriter final : public TarVisitor {
 public:
  explicit Rewriter(ByteSink& sink) : writer_(sink) {}

  Status OnEntry(const CallContext& call, const TarEntry& entry) override {
    const auto parsed = ParseTarHeaders(entry.headers);
    HF_ASSERT(parsed.ok() && parsed->path == entry.path && parsed->runs == entry.runs);
    std::uint64_t end = 0;
    std::uint64_t stored = 0;
    for (const DataRun& run : entry.runs) {
      HF_ASSERT(run.length > 0 && run.offset >= end);
      end = run.offset + run.length;
      stored += run.length;
    }
    HF_ASSERT(end <= entry.real_size && stored == entry.stored_size);
    return writer_.BeginVerbatim(call, entry.headers, entry.stored_size);
  }
  Status OnData(const CallContext& call, std::uint64_t /*offset*/, ByteView data) override {
    return writer_.Data(call, data);
  }
  Status OnEntryEnd(const CallContext& call, ByteView padding) override {
    return writer_.End(call, padding);
  }
  TarWriter& writer() { return writer_; }

 private:
  TarWriter writer_;
};

std::optional<Bytes> Rewrite(ByteView tar, std::size_t slice) {
  BytesSink sink(kMemory);
  Rewriter rewriter(sink);
  TarReader reader(rewriter, {.path_bytes_max = 4096, .header_bytes_max = 1 << 16});
  for (std::size_t at = 0; at < tar.size(); at += slice) {
    const ByteView piece = tar.subspan(at, std::min(slice, tar.size() - at));
    if (!reader.Write({}, piece).ok()) break;
  }
  const auto end = reader.Finish();
  if (!end.ok()) {
    HF_ASSERT(!end.error().message().empty());
    return std::nullopt;
  }
  HF_ASSERT(reader.ended() && end->bytes == tar.size() && end->zero_bytes >= 1024);
  HF_ASSERT(rewriter.writer().Finish({}, end->zero_bytes).ok());
  return sink.Take();
}

}  // namespace
}  // namespace holdfast

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace holdfast;
  if (size == 0) return 0;
  const std::size_t slice = 1 + data[0];
  const ByteView tar = std::as_bytes(std::span(data, size)).subspan(1);
  const auto whole = Rewrite(tar, tar.size() + 1);
  const auto sliced = Rewrite(tar, slice);
  HF_ASSERT(whole == sliced);
  if (whole) HF_ASSERT(std::equal(whole->begin(), whole->end(), tar.begin(), tar.end()));
  return 0;
}
