#include "engine/qdrant/image/id_sorter.h"

#include <algorithm>
#include <memory>
#include <optional>
#include <tuple>

namespace holdfast::qdrant {
namespace {

std::uint64_t BigEndian(const std::byte* bytes) {
  std::uint64_t value = 0;
  for (int i = 0; i < 8; ++i) value = value << 8 | std::to_integer<std::uint64_t>(bytes[i]);
  return value;
}

void PutBigEndian(std::byte* bytes, std::uint64_t value) {
  for (int i = 7; i >= 0; --i, value >>= 8) bytes[i] = static_cast<std::byte>(value & 0xFF);
}

}  // namespace

// Reads one run front to back through a small buffer.
class IdSorter::RunReader {
 public:
  RunReader(const SpoolFile& file, Run run, std::size_t records)
      : file_(file), run_(run), records_max_(records) {}

  Result<std::optional<Record>> Next() {
    if (at_ == buffer_.size()) {
      const std::uint64_t left = (run_.end - run_.begin) / sizeof(Record);
      if (left == 0) return std::optional<Record>();
      buffer_.resize(std::min<std::uint64_t>(left, records_max_));
      const std::span<std::byte> into = std::as_writable_bytes(std::span(buffer_));
      HF_RETURN_IF_ERROR(file_.ReadAt(run_.begin, into));
      run_.begin += into.size();
      at_ = 0;
    }
    return std::optional<Record>(buffer_[at_++]);
  }

 private:
  const SpoolFile& file_;
  Run run_;
  const std::size_t records_max_;
  std::vector<Record> buffer_;
  std::size_t at_ = 0;
};

IdSorter::IdSorter(const std::string& directory, std::size_t buffer_bytes)
    : records_max_(std::max<std::size_t>(buffer_bytes / sizeof(Record), 2)), file_(directory) {}

bool IdSorter::Before(const Record& a, const Record& b) {
  return std::tie(a.is_uuid, a.high, a.low, a.segment, a.sequence) <
         std::tie(b.is_uuid, b.high, b.low, b.segment, b.sequence);
}

IdSorter::Record IdSorter::MakeRecord(std::uint32_t segment, const PointId& id) {
  return {.is_uuid = id.is_uuid ? 1U : 0U,
          .live = 0,
          .segment = segment,
          .offset = 0,
          .high = id.is_uuid ? BigEndian(id.uuid.data()) : 0,
          .low = id.is_uuid ? BigEndian(id.uuid.data() + 8) : id.number,
          .sequence = 0};
}

Status IdSorter::AddLive(std::uint32_t segment, const PointId& id, std::uint32_t offset) {
  Record record = MakeRecord(segment, id);
  record.live = 1;
  record.offset = offset;
  return Add(record);
}

Status IdSorter::AddDeleted(std::uint32_t segment, const PointId& id) {
  return Add(MakeRecord(segment, id));
}

Status IdSorter::Add(Record record) {
  record.sequence = sequence_++;
  if (buffer_.size() == records_max_) HF_RETURN_IF_ERROR(WriteRun());
  buffer_.push_back(record);
  return {};
}

Status IdSorter::WriteRun() {
  std::ranges::sort(buffer_, &IdSorter::Before);
  const ByteView bytes = std::as_bytes(std::span(buffer_));
  HF_RETURN_IF_ERROR(file_.WriteAt(file_end_, bytes));
  runs_.push_back({.begin = file_end_, .end = file_end_ + bytes.size()});
  file_end_ += bytes.size();
  buffer_.clear();
  return {};
}

Status IdSorter::Merge(const std::function<Status(const Record&)>& take) {
  std::ranges::sort(buffer_, &IdSorter::Before);
  if (runs_.empty()) {
    for (const Record& record : buffer_) HF_RETURN_IF_ERROR(take(record));
    return {};
  }
  if (!buffer_.empty()) HF_RETURN_IF_ERROR(WriteRun());

  struct Head {
    Record record;
    RunReader* run;
  };
  const auto later = [](const Head& a, const Head& b) { return Before(b.record, a.record); };
  const std::size_t records_each = std::max<std::size_t>(records_max_ / runs_.size(), 16);
  std::vector<std::unique_ptr<RunReader>> readers;
  std::vector<Head> heads;
  for (const Run& run : runs_) {
    readers.push_back(std::make_unique<RunReader>(file_, run, records_each));
    HF_TRY(const std::optional<Record> first, readers.back()->Next());
    heads.push_back({.record = *first, .run = readers.back().get()});
  }
  std::ranges::make_heap(heads, later);
  while (!heads.empty()) {
    std::ranges::pop_heap(heads, later);
    HF_RETURN_IF_ERROR(take(heads.back().record));
    HF_TRY(const std::optional<Record> next, heads.back().run->Next());
    if (!next) {
      heads.pop_back();
      continue;
    }
    heads.back().record = *next;
    std::ranges::push_heap(heads, later);
  }
  return {};
}

Status IdSorter::Visit(const std::function<bool(std::uint32_t, std::uint32_t)>& is_loaded,
                       const std::function<Status(const PointId&)>& visit) {
  // The records of one id come together, those of one segment in the order they were added: the
  // last one of each segment counts, and one live segment is enough.
  std::optional<Record> last;
  bool id_is_live = false;
  const auto end_segment = [&] {
    if (last && last->live != 0 && is_loaded(last->segment, last->offset)) id_is_live = true;
  };
  const auto end_id = [&]() -> Status {
    if (!last || !id_is_live) return {};
    PointId id{.is_uuid = last->is_uuid != 0, .number = last->is_uuid != 0 ? 0 : last->low};
    if (id.is_uuid) {
      PutBigEndian(id.uuid.data(), last->high);
      PutBigEndian(id.uuid.data() + 8, last->low);
    }
    return visit(id);
  };
  HF_RETURN_IF_ERROR(Merge([&](const Record& record) -> Status {
    const bool same_id = last && last->is_uuid == record.is_uuid && last->high == record.high &&
                         last->low == record.low;
    if (!same_id || last->segment != record.segment) end_segment();
    if (!same_id) {
      HF_RETURN_IF_ERROR(end_id());
      id_is_live = false;
    }
    last = record;
    return {};
  }));
  end_segment();
  return end_id();
}

}  // namespace holdfast::qdrant
