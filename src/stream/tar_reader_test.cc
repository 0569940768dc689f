#include "stream/tar_reader.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>

#include "stream/tar_header.h"
#include "stream/tar_writer.h"
#include "testing/stream/tar_tools.h"

namespace holdfast {
namespace {

using namespace holdfast::testing;
using ::testing::HasSubstr;

/// A visitor that looks at nothing.
class Blind : public TarVisitor {
 public:
  Status OnEntry(const CallContext&, const TarEntry&) override { return {}; }
  Status OnData(const CallContext&, std::uint64_t, ByteView) override { return {}; }
  Status OnEntryEnd(const CallContext&, ByteView) override { return {}; }
};

/// How a reader judges `tar`, given at once.
Result<TarEnd> Judge(ByteView tar, std::size_t slice = 1 << 20) {
  Blind blind;
  TarReader reader(blind);
  HF_RETURN_IF_ERROR(Feed(reader, tar, slice));
  return reader.Finish();
}

class RecordedTar : public ::testing::TestWithParam<std::string> {};
INSTANTIATE_TEST_SUITE_P(All, RecordedTar, ::testing::ValuesIn(WholeTars()),
                         [](const auto& tested) {
                           std::string name = tested.param.substr(0, tested.param.find('.'));
                           std::replace(name.begin(), name.end(), '-', '_');
                           return name;
                         });

TEST_P(RecordedTar, IsReadInAnySlicesAndWrittenAgainByteForByte) {
  const Bytes tar = ReadTestData(GetParam());
  for (const std::size_t slice : {1, 7, 512, 4096, 0}) {
    TarCollector collector;
    TarReader reader(collector);
    ASSERT_TRUE(Feed(reader, tar, slice).ok());
    EXPECT_TRUE(reader.ended());
    const auto end = reader.Finish();
    ASSERT_TRUE(end.ok()) << end.error().ToString();
    EXPECT_EQ(end->entries, collector.entries.size());
    EXPECT_EQ(end->bytes, tar.size());
    EXPECT_EQ(WriteVerbatim(collector.entries, end->zero_bytes), tar) << "slices of " << slice;
  }
}

TEST_P(RecordedTar, ItsHeadersAloneGiveTheSameEntries) {
  const auto entries = ReadTar(ReadTestData(GetParam()));
  ASSERT_TRUE(entries.ok());
  for (const ReadEntry& read : *entries) {
    const auto parsed = ParseTarHeaders(read.entry.headers);
    ASSERT_TRUE(parsed.ok());
    EXPECT_EQ(parsed->path, read.entry.path);
    EXPECT_EQ(parsed->runs, read.entry.runs);
    EXPECT_EQ(parsed->stored_size, read.entry.stored_size);
    EXPECT_EQ(parsed->real_size, read.entry.real_size);
    EXPECT_EQ(parsed->headers, read.entry.headers);
  }
}

TEST_P(RecordedTar, EndsShortAtNoBlockUnnoticed) {
  const Bytes tar = ReadTestData(GetParam());
  for (std::size_t size = 0; size < tar.size(); size += 512) {
    const auto end = Judge(ByteView(tar).first(size));
    ASSERT_FALSE(end.ok()) << size;
    ASSERT_EQ(end.error().code(), ErrorCode::kDataLoss);
    ASSERT_THAT(end.error().message(), HasSubstr("tar offset " + std::to_string(size)));
  }
}

TEST(TarReader, EveryByteCanBeTheLastOneAndIsNoticed) {
  const Bytes tar = ReadTestData("shard-empty.tar");
  const std::size_t marker = tar.size() - 1024;
  for (std::size_t size = 0; size < tar.size(); ++size) {
    const auto end = Judge(ByteView(tar).first(size));
    ASSERT_FALSE(end.ok()) << size;
    ASSERT_THAT(end.error().message(), HasSubstr("the tar breaks off"));
  }
  EXPECT_THAT(Judge(ByteView(tar).first(marker)).error().message(),
              HasSubstr("behind 'shard_config.json': the tar breaks off at an entry boundary"));
  EXPECT_THAT(Judge(ByteView(tar).first(marker + 512)).error().message(),
              HasSubstr("inside the end marker"));
}

// Measured fact 2: a stream that ended short on a real server, with status 200.
TEST(TarReader, TheRecordedShortStreamIsReportedAsShort) {
  const Bytes tar = ReadTestData("shard-truncated-silently.tar");
  for (const std::size_t slice : {1, 4096, 0}) {
    const auto end = Judge(tar, slice);
    ASSERT_FALSE(end.ok());
    EXPECT_EQ(end.error().code(), ErrorCode::kDataLoss);
    EXPECT_EQ(end.error().message(),
              "tar offset 1612288, behind 'wal/closed-31': the tar breaks off at an entry boundary "
              "without an end marker");
  }
  Blind blind;
  TarReader reader(blind);
  ASSERT_TRUE(reader.Write({}, tar).ok());
  EXPECT_FALSE(reader.ended());
  EXPECT_EQ(reader.Finish(TarReader::Marker::kOptional)->zero_bytes, 0U);
}

TEST(TarReader, SaysWhereInAnEntryItBroke) {
  const Bytes tar = WriteNew({MakeFile("a/b", std::string(1000, 'x')), MakeFile("c", "y")});
  const auto broken = [&](std::size_t size) {
    return Judge(ByteView(tar).first(size)).error().message();
  };
  EXPECT_EQ(broken(0),
            "tar offset 0: the tar breaks off at an entry boundary without an end marker");
  EXPECT_EQ(broken(100), "tar offset 100: the tar breaks off inside the headers of an entry");
  EXPECT_EQ(broken(612),
            "tar offset 612, 'a/b': the tar breaks off after 100 of 1000 bytes of the entry");
  EXPECT_EQ(broken(1520),
            "tar offset 1520, 'a/b': the tar breaks off inside the padding of the entry");
  EXPECT_EQ(broken(1600),
            "tar offset 1600, behind 'a/b': the tar breaks off inside the headers of an entry");
}

TEST(TarReader, ATailOfAnyLengthIsCounted) {
  const std::vector<ReadEntry> entries{MakeFile("a", "x")};
  for (const std::size_t zeros : {1024, 1025, 10'240, 1'000'000}) {
    const Bytes tar = WriteVerbatim(*ReadTar(WriteNew(entries)), zeros);
    for (const std::size_t slice : {1 << 20, 0}) {
      const auto end = Judge(tar, slice);
      ASSERT_TRUE(end.ok());
      EXPECT_EQ(end->zero_bytes, zeros);
      EXPECT_EQ(end->bytes, tar.size());
    }
  }
}

TEST(TarReader, AnEmptyTarIsAnEndMarker) {
  EXPECT_EQ(Judge(Bytes(1024))->entries, 0U);
  EXPECT_FALSE(Judge(Bytes(512)).ok());
  EXPECT_FALSE(Judge({}).ok());
}

TEST(TarReader, DataBehindTheEndMarkerIsAnError) {
  Bytes tar = WriteNew({MakeFile("a", "x")});
  tar.resize(tar.size() + 700);
  tar[tar.size() - 3] = std::byte{1};
  for (const std::size_t slice : {1 << 20, 1}) {
    EXPECT_THAT(Judge(tar, slice).error().message(),
                HasSubstr("data stands behind the end marker"));
  }
}

TEST(TarReader, ASingleZeroBlockIsNoEndMarker) {
  const Bytes one = WriteNew({MakeFile("a", "x")});
  Bytes tar(one.begin(), one.end() - 512);
  Append(tar, one);
  EXPECT_THAT(Judge(tar).error().message(),
              HasSubstr("tar offset 1536, behind 'a': a single zero block"));
}

TEST(TarReader, PaddingThatIsNotZeroIsKept) {
  std::vector<ReadEntry> entries = *ReadTar(WriteNew({MakeFile("a", "xyz"), MakeFile("b", "")}));
  entries[0].padding = Bytes(509, std::byte{7});
  const Bytes tar = WriteVerbatim(entries, 1024);
  for (const std::size_t slice : {1 << 20, 1, 0}) {
    const auto read = ReadTar(tar, slice);
    ASSERT_TRUE(read.ok());
    EXPECT_EQ(read->front().padding, entries[0].padding);
    EXPECT_TRUE(read->back().padding.empty());
    EXPECT_EQ(WriteVerbatim(*read, 1024), tar);
  }
}

TEST(TarReader, EveryFlippedBitOfAHeaderIsFoundOrChangesNothing) {
  Bytes tar = ReadTestData("shard-empty.tar");
  const auto good = ReadTar(tar);
  std::size_t at = 0;
  std::size_t unnoticed = 0;
  for (const ReadEntry& read : *good) {
    // The main header is the first block here: these names are short. Sparse extensions have no
    // checksum; none of these entries has one.
    ASSERT_EQ(read.entry.headers.size(), kTarBlockBytes);
    for (std::size_t bit = 0; bit < kTarBlockBytes * 8; ++bit) {
      std::byte& changed = tar[at + bit / 8];
      changed ^= static_cast<std::byte>(1 << bit % 8);
      const auto parsed = ParseTarHeaders(ByteView(tar).subspan(at, kTarBlockBytes));
      if (parsed.ok()) {
        // Digits that say the same, within the checksum field: a leading zero as a space.
        EXPECT_GE(bit / 8, 148U);
        EXPECT_LT(bit / 8, 156U);
        EXPECT_EQ(parsed->path, read.entry.path);
        EXPECT_EQ(parsed->runs, read.entry.runs);
        ++unnoticed;
      }
      changed ^= static_cast<std::byte>(1 << bit % 8);
    }
    at += kTarBlockBytes + read.entry.stored_size + TarPaddingBytes(read.entry.stored_size);
  }
  EXPECT_LE(unnoticed, 4 * good->size());
}

TEST(TarReader, WhatTheWriterWroteComesBack) {
  Random random(21);
  for (int round = 0; round < 60; ++round) {
    std::vector<ReadEntry> entries;
    const auto count = static_cast<std::size_t>(random.Between(0, 12));
    for (std::size_t i = 0; i < count; ++i) entries.push_back(MakeRandomEntry(i, random));
    const Bytes tar = WriteNew(entries);
    EXPECT_EQ(tar.size() % 512, 0U);
    const auto read = ReadTar(tar, round % 2 == 0 ? 0 : 4096);
    ASSERT_TRUE(read.ok()) << read.error().ToString();
    ASSERT_EQ(read->size(), entries.size());
    for (std::size_t i = 0; i < entries.size(); ++i) {
      const TarEntry& wrote = entries[i].entry;
      const TarEntry& got = (*read)[i].entry;
      EXPECT_EQ(got.path, wrote.path);
      EXPECT_EQ(got.type, wrote.type);
      EXPECT_EQ(got.mode, wrote.mode);
      EXPECT_EQ(got.mtime, wrote.mtime);
      EXPECT_EQ(got.real_size, wrote.real_size);
      EXPECT_EQ(got.runs, wrote.runs);
      EXPECT_EQ((*read)[i].data, entries[i].data);
    }
    EXPECT_EQ(WriteVerbatim(*read, 1024), tar);
    // Cut anywhere, it is short.
    const auto cut =
        static_cast<std::size_t>(random.Between(0, static_cast<std::int64_t>(tar.size()) - 1));
    EXPECT_FALSE(Judge(ByteView(tar).first(cut)).ok()) << cut;
  }
}

TEST(TarReader, AnErrorOfTheVisitorEndsTheReadingAsItIs) {
  class Refusing final : public Blind {
   public:
    Status OnEntryEnd(const CallContext&, ByteView) override {
      return Error(ErrorCode::kResourceExhausted, "the spool is full");
    }
  };
  for (const char* content : {"", "x"}) {
    Refusing refusing;
    TarReader reader(refusing);
    const Bytes tar = WriteNew({MakeFile("a", content)});
    EXPECT_EQ(reader.Write({}, tar).error().message(), "the spool is full");
    EXPECT_EQ(reader.Write({}, tar).error().message(), "the spool is full");
    EXPECT_EQ(reader.Finish().error().code(), ErrorCode::kResourceExhausted);
  }
}

TEST(TarReader, WhatIsNoTarIsRefusedAtOnce) {
  Random random(22);
  for (int round = 0; round < 50; ++round) {
    Bytes noise(2048);
    for (std::byte& b : noise) b = static_cast<std::byte>(random.Next() & 0xff);
    const auto end = Judge(noise);
    ASSERT_FALSE(end.ok());
    EXPECT_THAT(end.error().message(), HasSubstr("tar offset 0"));
  }
}

TEST(TarWriter, AnEntryWithMissingDataIsAnError) {
  BytesSink sink(10'000);
  TarWriter writer(sink);
  ASSERT_TRUE(writer.Begin({}, MakeFile("a", "12345").entry).ok());
  ASSERT_TRUE(writer.Data({}, AsBytes("123")).ok());
  const Status ended = writer.End({});
  EXPECT_EQ(ended.error().code(), ErrorCode::kDataLoss);
  EXPECT_THAT(ended.error().message(), HasSubstr("last 2 of 5 bytes"));
}

TEST(TarWriter, PaddingMustFit) {
  BytesSink sink(10'000);
  TarWriter writer(sink);
  ASSERT_TRUE(writer.Begin({}, MakeFile("a", "12345").entry).ok());
  ASSERT_TRUE(writer.Data({}, AsBytes("12345")).ok());
  EXPECT_EQ(writer.End({}, Bytes(3)).error().code(), ErrorCode::kDataLoss);
}

TEST(TarWriter, WhatTheSinkSaysComesBack) {
  BytesSink sink(600);
  TarWriter writer(sink);
  ASSERT_TRUE(writer.AddFile({}, "a", {}).ok());
  EXPECT_EQ(writer.AddFile({}, "b", {}).error().code(), ErrorCode::kResourceExhausted);
}

}  // namespace
}  // namespace holdfast
