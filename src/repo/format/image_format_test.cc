#include "repo/format/image_format.h"

#include <gtest/gtest.h>

#include "testing/repo/test_repository.h"

namespace holdfast {
namespace {

const GroupId kGroup("20261122T032438Z-9f8a7b6c5d4e3f2a");

BlockRecord MakeRecord() {
  return {.block = {.name = Sha256Of(AsBytes("x")), .codec = 2, .plain_size = 131'072},
          .pack = 7,
          .place = {.position = 3, .offset = 1'000, .sealed_size = 90'000},
          .file_offset = std::uint64_t{5} << 40};
}

TEST(BlockRecordTest, HasItsSizeAndIsReadAsItWasWritten) {
  Bytes bytes;
  AppendBlockRecord(bytes, MakeRecord());
  ASSERT_EQ(bytes.size(), kBlockRecordBytes);
  const auto read = ParseBlockRecord(bytes, "test");
  ASSERT_TRUE(read.ok());
  EXPECT_EQ(read->block.name, MakeRecord().block.name);
  EXPECT_EQ(read->block.codec, 2);
  EXPECT_EQ(read->block.plain_size, 131'072U);
  EXPECT_EQ(read->pack, 7U);
  EXPECT_EQ(read->place, MakeRecord().place);
  EXPECT_EQ(read->file_offset, std::uint64_t{5} << 40);
}

TEST(BlockRecordTest, ImpossibleOnesAreDamage) {
  const auto changed = [](const std::function<void(BlockRecord&)>& change) {
    BlockRecord record = MakeRecord();
    change(record);
    Bytes bytes;
    AppendBlockRecord(bytes, record);
    return ParseBlockRecord(bytes, "test").ok();
  };
  EXPECT_TRUE(changed([](BlockRecord&) {}));
  EXPECT_FALSE(changed([](BlockRecord& r) { r.block.plain_size = 0; }));
  EXPECT_FALSE(changed([](BlockRecord& r) { r.block.plain_size = 2 << 20; }));
  EXPECT_FALSE(changed([](BlockRecord& r) { r.place.sealed_size = 16; }));
  EXPECT_FALSE(changed([](BlockRecord& r) { r.place.offset = 15; }));
  EXPECT_FALSE(changed([](BlockRecord& r) { r.place.offset = 64 << 20; }));
  EXPECT_FALSE(changed([](BlockRecord& r) { r.file_offset = ~std::uint64_t{0}; }));
}

TEST(FileRecordTest, IsTakenOnlyWhenAllOfItIsThere) {
  FileRecord record{.headers = testing::Noise(1'024, 1),
                    .path = "segments/a/b",
                    .real_size = 5'000,
                    .stored_size = 4'000,
                    .first_block = 17,
                    .block_count = 1,
                    .padding = testing::Noise(96, 2)};
  Bytes bytes;
  AppendFileRecord(bytes, record);
  for (std::size_t size = 0; size < bytes.size(); ++size) {
    const auto taken = TakeFileRecord(ByteView(bytes).first(size), "test");
    ASSERT_TRUE(taken.ok()) << size;
    EXPECT_FALSE(taken->has_value()) << size;
  }
  const std::size_t size = bytes.size();
  bytes.resize(size + 10);
  const auto taken = TakeFileRecord(bytes, "test");
  ASSERT_TRUE(taken.ok() && taken->has_value());
  EXPECT_EQ((*taken)->bytes, size);
  EXPECT_EQ((*taken)->record.headers, record.headers);
  EXPECT_EQ((*taken)->record.path, record.path);
  EXPECT_EQ((*taken)->record.real_size, record.real_size);
  EXPECT_EQ((*taken)->record.stored_size, record.stored_size);
  EXPECT_EQ((*taken)->record.first_block, record.first_block);
  EXPECT_EQ((*taken)->record.block_count, record.block_count);
  EXPECT_EQ((*taken)->record.padding, record.padding);
}

TEST(FileRecordTest, HeadersAndPaddingOfImpossibleSizeAreDamage) {
  Bytes bytes;
  AppendU32(bytes, 0xffff'ffffU);
  EXPECT_FALSE(TakeFileRecord(bytes, "test").ok());

  bytes.clear();
  FileRecord record{.headers = {},
                    .path = "p",
                    .real_size = 1,
                    .stored_size = 1,
                    .first_block = 0,
                    .block_count = 1,
                    .padding = testing::Noise(5, 1)};
  AppendFileRecord(bytes, record);
  EXPECT_FALSE(TakeFileRecord(bytes, "test").ok());
}

ImageHead MakeHead() {
  ImageHead head;
  head.label = "uuid/0/17";
  head.bytes = 123'456;
  head.sha256 = Sha256Of(AsBytes("tar"));
  head.files = 3;
  head.blocks = kRecordsPerChunk * 3 + 1;
  head.bytes_new = 99;
  head.note = R"({"a":"b"})";
  const std::uint32_t group = head.packs.AddGroup(kGroup);
  head.packs.Add(group, Sha256Of(AsBytes("1")));
  head.packs.Add(group, Sha256Of(AsBytes("2")));
  head.block_list.parts = {{.salt = Sha256Of(AsBytes("s")), .chunks = {500, 600}},
                           {.salt = {}, .chunks = {700}}};
  AppendBlockRecord(head.block_list.rest, MakeRecord());
  head.file_list.rest = testing::Noise(77, 1);
  head.zero_bytes = 1'024;
  return head;
}

TEST(ImageHeadTest, IsReadAsItWasWritten) {
  const ImageHead head = MakeHead();
  const auto written = WriteImageHead(head);
  ASSERT_TRUE(written.ok());
  const auto read = ReadImageHead(*written, "images/x");
  ASSERT_TRUE(read.ok()) << read.error().ToString();
  EXPECT_EQ(read->label, head.label);
  EXPECT_EQ(read->bytes, head.bytes);
  EXPECT_EQ(read->sha256, head.sha256);
  EXPECT_EQ(read->files, head.files);
  EXPECT_EQ(read->blocks, head.blocks);
  EXPECT_EQ(read->bytes_new, head.bytes_new);
  EXPECT_EQ(read->note, head.note);
  ASSERT_EQ(read->packs.size(), 2U);
  EXPECT_EQ(read->packs.KeyOf(1), head.packs.KeyOf(1));
  EXPECT_EQ(read->block_list.chunk_count(), 3U);
  EXPECT_EQ(read->block_list.parts[0].salt, head.block_list.parts[0].salt);
  EXPECT_EQ(read->block_list.parts[0].chunks, head.block_list.parts[0].chunks);
  EXPECT_EQ(read->block_list.rest, head.block_list.rest);
  EXPECT_EQ(read->file_list.rest, head.file_list.rest);
  EXPECT_EQ(read->zero_bytes, 1'024U);
}

TEST(ImageHeadTest, IsDamagedWhenCutShortOrLengthened) {
  const Bytes written = *WriteImageHead(MakeHead());
  for (std::size_t size = 0; size < written.size(); ++size) {
    EXPECT_FALSE(ReadImageHead(ByteView(written).first(size), "images/x").ok()) << size;
  }
  Bytes longer = written;
  longer.push_back(std::byte{0});
  EXPECT_FALSE(ReadImageHead(longer, "images/x").ok());
}

TEST(ImageHeadTest, IsDamagedWhenItDoesNotHaveTheBlocksItSays) {
  ImageHead head = MakeHead();
  head.blocks -= 1;
  EXPECT_FALSE(ReadImageHead(*WriteImageHead(head), "images/x").ok());
}

TEST(ImageHeadTest, LabelsAreText) {
  ImageHead head = MakeHead();
  head.label = "\xff\xfe";
  const auto written = WriteImageHead(head);
  ASSERT_FALSE(written.ok());
  EXPECT_EQ(written.error().code(), ErrorCode::kInvalidArgument);
}

}  // namespace
}  // namespace holdfast
