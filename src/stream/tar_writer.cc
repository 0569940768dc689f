#include "stream/tar_writer.h"

#include <algorithm>
#include <array>
#include <string>

#include "base/assert.h"

namespace holdfast {
namespace {

constexpr std::array<std::byte, 16 * 1024> kZeros{};

}  // namespace

Status TarWriter::Put(const CallContext& call, ByteView bytes) {
  HF_RETURN_IF_ERROR(sink_.Write(call, bytes));
  offset_ += bytes.size();
  return {};
}

Status TarWriter::PutZeros(const CallContext& call, std::uint64_t count) {
  while (count > 0) {
    const std::size_t piece =
        static_cast<std::size_t>(std::min<std::uint64_t>(count, kZeros.size()));
    HF_RETURN_IF_ERROR(Put(call, ByteView(kZeros).first(piece)));
    count -= piece;
  }
  return {};
}

Status TarWriter::Begin(const CallContext& call, const TarEntry& entry) {
  HF_TRY(const Bytes headers, MakeTarHeaders(entry));
  std::uint64_t stored = 0;
  for (const DataRun& run : entry.runs) stored += run.length;
  return BeginVerbatim(call, headers, stored);
}

Status TarWriter::BeginVerbatim(const CallContext& call, ByteView headers,
                                std::uint64_t stored_size) {
  HF_ASSERT(!in_entry_ && headers.size() % kTarBlockBytes == 0);
  in_entry_ = true;
  stored_size_ = missing_ = stored_size;
  return Put(call, headers);
}

Status TarWriter::Data(const CallContext& call, ByteView data) {
  HF_ASSERT(in_entry_ && data.size() <= missing_);
  missing_ -= data.size();
  return Put(call, data);
}

Status TarWriter::End(const CallContext& call, ByteView padding) {
  HF_ASSERT(in_entry_);
  if (missing_ != 0) {
    return Error(ErrorCode::kDataLoss, "the last " + std::to_string(missing_) + " of " +
                                           std::to_string(stored_size_) +
                                           " bytes of a tar entry are missing");
  }
  in_entry_ = false;
  const std::size_t size = TarPaddingBytes(stored_size_);
  if (padding.empty()) return PutZeros(call, size);
  if (padding.size() != size) {
    return Error(ErrorCode::kDataLoss, "the padding of a tar entry has " +
                                           std::to_string(padding.size()) + " bytes instead of " +
                                           std::to_string(size));
  }
  return Put(call, padding);
}

Status TarWriter::AddFile(const CallContext& call, std::string_view path, ByteView content) {
  TarEntry entry;
  entry.path = path;
  entry.mode = 0644;
  entry.real_size = content.size();
  if (!content.empty()) entry.runs.push_back({0, content.size()});
  HF_RETURN_IF_ERROR(Begin(call, entry));
  HF_RETURN_IF_ERROR(Data(call, content));
  return End(call);
}

Status TarWriter::Finish(const CallContext& call, std::uint64_t zero_bytes) {
  HF_ASSERT(!in_entry_);
  return PutZeros(call, zero_bytes);
}

}  // namespace holdfast
