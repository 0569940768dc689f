// Heads and lists of images, behind a seal that opened.

#include <cstddef>
#include <cstdint>

#include "base/assert.h"
#include "repo/format/image_format.h"

using namespace holdfast;

namespace {

void ReadFiles(ByteView rest) {
  for (;;) {
    const auto taken = TakeFileRecord(rest, "fuzz");
    if (!taken.ok() || !*taken) return;
    HF_ASSERT((*taken)->bytes > 0 && (*taken)->bytes <= rest.size());
    Bytes again;
    AppendFileRecord(again, (*taken)->record);
    HF_ASSERT(std::ranges::equal(again, rest.first((*taken)->bytes)));
    rest = rest.subspan((*taken)->bytes);
  }
}

void ReadBlocks(ByteView rest) {
  for (; rest.size() >= kBlockRecordBytes; rest = rest.subspan(kBlockRecordBytes)) {
    const auto record = ParseBlockRecord(rest.first(kBlockRecordBytes), "fuzz");
    if (!record.ok()) continue;
    Bytes again;
    AppendBlockRecord(again, *record);
    HF_ASSERT(std::ranges::equal(again, rest.first(kBlockRecordBytes)));
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const ByteView input = std::as_bytes(std::span(data, size));
  ReadFiles(input);
  ReadBlocks(input);
  const auto head = ReadImageHead(input, "images/fuzz");
  if (!head.ok()) return 0;
  ReadFiles(head->file_list.rest);
  ReadBlocks(head->block_list.rest);
  for (std::uint32_t i = 0; i < head->packs.size(); ++i) HF_ASSERT(!head->packs.KeyOf(i).empty());
  const auto written = WriteImageHead(*head);
  HF_ASSERT(written.ok());
  const auto again = ReadImageHead(*written, "images/fuzz");
  HF_ASSERT(again.ok() && again->blocks == head->blocks && again->label == head->label);
  return 0;
}
