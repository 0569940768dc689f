#include "stream/tar_entry.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <functional>
#include <string>

#include "testing/stream/tar_tools.h"

namespace holdfast {
namespace {

using namespace holdfast::testing;
using namespace std::string_view_literals;
using ::testing::HasSubstr;

/// Headers of `entry` with the last block changed and its checksum put right.
Bytes Changed(const TarEntry& entry, const std::function<void(std::span<std::byte>)>& change) {
  Bytes headers = *MakeTarHeaders(entry);
  change(std::span(headers).last(kTarBlockBytes));
  FixChecksum(std::span(headers).last(kTarBlockBytes));
  return headers;
}

Bytes With(const TarEntry& entry, std::size_t at, std::string_view text) {
  return Changed(entry, [&](std::span<std::byte> block) {
    std::copy_n(AsBytes(text).begin(), text.size(),
                block.begin() + static_cast<std::ptrdiff_t>(at));
  });
}

TarEntry SmallFile() { return MakeFile("a/file", "0123456789").entry; }

TarEntry SmallSparse() {
  Random random(1);
  return MakeSparse("a/sparse", 1 << 20, {{4096, 512}, {8192, 1024}}, random).entry;
}

/// A pax entry in front of `headers`.
Bytes WithPax(std::string_view records, ByteView headers) {
  TarEntry pax = MakeFile("pax", records).entry;
  Bytes out = With(pax, 156, "x");
  Append(out, AsBytes(records));
  out.resize(out.size() + TarPaddingBytes(records.size()));
  Append(out, headers);
  return out;
}

std::string PaxRecord(std::string_view key, std::string_view value) {
  const std::string rest = " " + std::string(key) + "=" + std::string(value) + "\n";
  std::size_t length = rest.size() + 1;
  while (std::to_string(length).size() + rest.size() != length) ++length;
  return std::to_string(length) + rest;
}

void ExpectRefused(const Bytes& headers, ErrorCode code, std::string_view why) {
  const auto parsed = ParseTarHeaders(headers);
  ASSERT_FALSE(parsed.ok()) << why;
  EXPECT_EQ(parsed.error().code(), code) << parsed.error().ToString();
  EXPECT_THAT(parsed.error().message(), HasSubstr(std::string(why)));
}

void ExpectNotMade(const TarEntry& entry, std::string_view why) {
  const auto headers = MakeTarHeaders(entry);
  ASSERT_FALSE(headers.ok()) << why;
  EXPECT_EQ(headers.error().code(), ErrorCode::kInvalidArgument);
  EXPECT_THAT(headers.error().message(), HasSubstr(std::string(why)));
}

TEST(TarEntry, OtherEntryTypesAreRefusedByName) {
  for (const char type : {'1', '2', '3', '4', '6', '7', 'g', 'K', 'V', 'D', 'M'}) {
    ExpectRefused(With(SmallFile(), 156, std::string(1, type)), ErrorCode::kUnsupported,
                  std::string("the entry type '") + type + "'");
  }
}

TEST(TarEntry, AnOldFileTypeIsAFile) {
  const auto parsed = ParseTarHeaders(With(SmallFile(), 156, "\0"sv));
  ASSERT_TRUE(parsed.ok());
  EXPECT_EQ(parsed->type, TarEntryType::kFile);
}

TEST(TarEntry, AnotherMagicIsRefused) {
  ExpectRefused(With(SmallFile(), 257, "\0\0\0\0\0\0\0\0"sv), ErrorCode::kUnsupported,
                "neither a GNU nor a POSIX");
  ExpectRefused(With(SmallSparse(), 257, "ustar\00000"sv), ErrorCode::kUnsupported,
                "without a GNU header");
}

TEST(TarEntry, ThePrefixOfPosixGoesInFront) {
  Bytes headers = With(SmallFile(), 345, "far/away");
  EXPECT_EQ(ParseTarHeaders(headers)->path, "a/file");  // GNU keeps other things there.
  std::copy_n(AsBytes("ustar\00000"sv).begin(), 8, headers.begin() + 257);
  FixChecksum(headers);
  EXPECT_EQ(ParseTarHeaders(headers)->path, "far/away/a/file");
}

TEST(TarEntry, NumbersMayBeOctalOrBase256) {
  for (const std::string_view size :
       {"00000000012\0"sv, "         12 "sv, "12\0\0\0\0\0\0\0\0\0\0"sv, "12          "sv,
        "000000000012"sv, "\x80\0\0\0\0\0\0\0\0\0\0\x0a"sv}) {
    const auto parsed = ParseTarHeaders(With(SmallFile(), 124, size));
    ASSERT_TRUE(parsed.ok()) << parsed.error().ToString();
    EXPECT_EQ(parsed->real_size, 10U);
  }
  EXPECT_EQ(ParseTarHeaders(With(SmallFile(), 124, "777777777777"sv))->real_size, 0xfffffffffU);
  EXPECT_EQ(ParseTarHeaders(With(SmallFile(), 124, "\x80\0\0\0\x7f\xff\xff\xff\xff\xff\xff\xff"sv))
                ->real_size,
            ~std::uint64_t{0} >> 1);
}

TEST(TarEntry, NumbersThatAreNoneOrDoNotFitAreRefused) {
  for (const std::string_view size :
       {"00000000018\0"sv, "            "sv, "\0\0\0\0\0\0\0\0\0\0\0\0"sv, "-0000000012\0"sv,
        "12\0garbage\0\0"sv, "0x0000000012"sv, "\x80\0\0\0\x80\0\0\0\0\0\0\0"sv,
        "\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff"sv, "\x80\1\0\0\0\0\0\0\0\0\0\0"sv}) {
    ExpectRefused(With(SmallFile(), 124, size), ErrorCode::kDataLoss, "its size");
  }
}

TEST(TarEntry, ModeAndTimeMayBeLeftOut) {
  const auto parsed = ParseTarHeaders(Changed(SmallFile(), [](std::span<std::byte> block) {
    std::fill_n(block.begin() + 100, 8, std::byte{0});
    std::fill_n(block.begin() + 136, 12, std::byte{' '});
  }));
  ASSERT_TRUE(parsed.ok());
  EXPECT_EQ(parsed->mode, 0U);
  EXPECT_EQ(parsed->mtime, 0U);
}

TEST(TarEntry, PathsThatLeaveTheTreeAreRefused) {
  for (const auto& [path, why] :
       {std::pair("/etc/passwd", "absolute"), std::pair("a/../b", "'..'"), std::pair("..", "'..'"),
        std::pair("../x", "'..'"), std::pair("a/..", "'..'")}) {
    std::string name(100, '\0');
    name.replace(0, std::string_view(path).size(), path);
    ExpectRefused(With(SmallFile(), 0, name), ErrorCode::kDataLoss, why);
    TarEntry entry = SmallFile();
    entry.path = path;
    ExpectNotMade(entry, why);
  }
  ExpectRefused(With(SmallFile(), 0, std::string(100, '\0')), ErrorCode::kDataLoss,
                "path is empty");
  for (const char* path : {"a/..b", "...", "a/b..", ".", "./a", "a//b"}) {
    TarEntry entry = SmallFile();
    entry.path = path;
    EXPECT_EQ(ParseTarHeaders(*MakeTarHeaders(entry))->path, path);
  }
}

TEST(TarEntry, LongNamesUpToTheLimit) {
  for (const std::size_t size : {99, 100, 101, 511, 512, 513, 4096}) {
    TarEntry entry = SmallFile();
    entry.path = std::string(size, 'n');
    const auto headers = MakeTarHeaders(entry);
    ASSERT_TRUE(headers.ok());
    EXPECT_EQ(ParseTarHeaders(*headers)->path, entry.path);
    EXPECT_EQ(headers->size(), size <= 100 ? 512U : 1024U + (size + 1 + 511) / 512 * 512);
    EXPECT_FALSE(ParseTarHeaders(*headers, {.path_bytes_max = size - 1}).ok());
  }
  TarEntry entry = SmallFile();
  entry.path = std::string(4097, 'n');
  ExpectNotMade(entry, "4097 bytes");
  entry.path = "a\0b"sv;
  ExpectNotMade(entry, "zero byte");
  entry.path.clear();
  ExpectNotMade(entry, "path is empty");
}

TEST(TarEntry, TwoLongNamesAreRefused) {
  TarEntry entry = SmallFile();
  entry.path = std::string(200, 'n');
  const Bytes headers = *MakeTarHeaders(entry);
  Bytes twice(headers.begin(), headers.begin() + 1024);
  Append(twice, headers);
  ExpectRefused(twice, ErrorCode::kUnsupported, "two long names");
  ExpectRefused(WithPax(PaxRecord("path", "p"), headers), ErrorCode::kUnsupported,
                "two long names");
}

TEST(TarEntry, PaxGivesPathAndSize) {
  const std::string records = PaxRecord("mtime", "1.5") + PaxRecord("path", "a/long=path\n") +
                              PaxRecord("size", "70000000000") + PaxRecord("comment", "");
  const Bytes headers = WithPax(records, *MakeTarHeaders(SmallFile()));
  const auto parsed = ParseTarHeaders(headers);
  ASSERT_TRUE(parsed.ok()) << parsed.error().ToString();
  EXPECT_EQ(parsed->path, "a/long=path\n");
  EXPECT_EQ(parsed->stored_size, 70'000'000'000U);
  EXPECT_EQ(parsed->runs, (std::vector<DataRun>{{0, 70'000'000'000}}));
  EXPECT_EQ(parsed->headers, headers);
}

TEST(TarEntry, PaxThatIsDamagedOrMeansMoreIsRefused) {
  const Bytes file = *MakeTarHeaders(SmallFile());
  for (const std::string_view records :
       {"x"sv, "99 path=a\n"sv, "9 path=a"sv, "0 \n"sv, "3 \n"sv, "8 path=a\n"sv, "9 path a\n"sv,
        "99999999999999999999999 path=a\n"sv, "-9 path=a\n"sv}) {
    ExpectRefused(WithPax(records, file), ErrorCode::kDataLoss, "pax header");
  }
  ExpectRefused(WithPax(PaxRecord("size", "x"), file), ErrorCode::kDataLoss, "pax size");
  ExpectRefused(WithPax(PaxRecord("size", "18446744073709551615"), file), ErrorCode::kDataLoss,
                "pax size");
  ExpectRefused(WithPax(PaxRecord("path", "../x"), file), ErrorCode::kDataLoss, "'..'");
  ExpectRefused(WithPax(PaxRecord("GNU.sparse.major", "1"), file), ErrorCode::kUnsupported,
                "pax sparse");
  ExpectRefused(WithPax(PaxRecord("size", "1"), *MakeTarHeaders(SmallSparse())),
                ErrorCode::kUnsupported, "with a pax size");
  ExpectRefused(WithPax("9 a=1234\n", WithPax("9 a=1234\n", file)), ErrorCode::kUnsupported,
                "two pax headers");
}

TEST(TarEntry, AnExtraHeaderNeedsItsEntry) {
  Bytes headers = WithPax(PaxRecord("path", "p"), Bytes(512));
  ExpectRefused(headers, ErrorCode::kDataLoss, "stands before the end marker");
  headers.resize(headers.size() - 512);
  ExpectRefused(headers, ErrorCode::kDataLoss, "exactly one entry");
  headers = *MakeTarHeaders(SmallFile());
  Append(headers, *MakeTarHeaders(SmallFile()));
  ExpectRefused(headers, ErrorCode::kDataLoss, "exactly one entry");
  ExpectRefused({}, ErrorCode::kDataLoss, "exactly one entry");
}

TEST(TarEntry, HeadersHaveALimit) {
  Random random(3);
  std::vector<DataRun> runs;
  for (std::uint64_t i = 0; i < 1000; ++i) runs.push_back({i * 8192, 4096});
  const TarEntry entry = MakeSparse("s", 1 << 23, runs, random).entry;
  const Bytes headers = *MakeTarHeaders(entry);
  EXPECT_EQ(ParseTarHeaders(headers)->runs, runs);
  EXPECT_EQ(ParseTarHeaders(headers, {.header_bytes_max = 4096}).error().code(),
            ErrorCode::kDataLoss);
}

TEST(TarEntry, SparseMapsThatTheServerWouldRefuseAreRefused) {
  const auto map = [](std::string_view offset, std::string_view length) {
    return std::string(offset) + std::string(length);
  };
  const TarEntry sparse = SmallSparse();  // Runs (010000, 01000), (020000, 02000) in octal.
  constexpr std::size_t kSecond = 386 + 24;
  const auto second = [&](std::string_view offset, std::string_view length) {
    return With(sparse, kSecond, map(offset, length));
  };
  EXPECT_TRUE(ParseTarHeaders(second("00000020000\0"sv, "00000002000\0"sv)).ok());
  ExpectRefused(second("00000010777\0"sv, "00000002000\0"sv), ErrorCode::kDataLoss, "out of order");
  ExpectRefused(second("00003777777\0"sv, "00000002000\0"sv), ErrorCode::kDataLoss,
                "leaves the file");
  ExpectRefused(second("777777777777"sv, "00000002000\0"sv), ErrorCode::kDataLoss,
                "leaves the file");
  ExpectRefused(second("00000020000\0"sv, "00000003000\0"sv), ErrorCode::kDataLoss,
                "more than the stored 1536 bytes");
  ExpectRefused(second("00000020000\0"sv, "00000001000\0"sv), ErrorCode::kDataLoss,
                "has 1024 of the stored 1536 bytes");
  ExpectRefused(second("\0\0\0\0\0\0\0\0\0\0\0\0"sv, "00000001000\0"sv), ErrorCode::kDataLoss,
                "has 512 of the stored");
  ExpectRefused(With(sparse, 386, "00000010000\00000000000777\0"sv), ErrorCode::kDataLoss,
                "multiple of 512");
  ExpectRefused(With(sparse, 386 + 48, std::string(24, '\0')), ErrorCode::kDataLoss,
                "ends at 9216 of 1048576");
  ExpectRefused(With(sparse, 482, "\2"), ErrorCode::kDataLoss, "neither 0 nor 1");
  ExpectRefused(With(sparse, 483, "00000000100\0"sv), ErrorCode::kDataLoss, "leaves the file");
  ExpectRefused(With(sparse, 483, "99999999999\0"sv), ErrorCode::kDataLoss, "real size");
}

TEST(TarEntry, ADirectoryHasNoDataAndAFileNoSlash) {
  TarEntry folder;
  folder.path = "wal/";
  folder.type = TarEntryType::kDirectory;
  EXPECT_EQ(ParseTarHeaders(*MakeTarHeaders(folder))->type, TarEntryType::kDirectory);
  ExpectRefused(With(folder, 124, "00000000001\0"sv), ErrorCode::kUnsupported, "with data");
  ExpectRefused(With(folder, 156, "0"), ErrorCode::kUnsupported, "ends with '/'");
  ExpectRefused(With(folder, 156, "S"), ErrorCode::kUnsupported, "ends with '/'");
  folder.real_size = 1;
  ExpectNotMade(folder, "no size");
  TarEntry file = SmallFile();
  file.path = "a/";
  ExpectNotMade(file, "ends with '/'");
}

TEST(TarEntry, WhatNoTarCanHoldIsNotMade) {
  TarEntry file = SmallFile();
  file.runs = {{0, 9}};
  ExpectNotMade(file, "does not cover");
  file.runs.clear();
  ExpectNotMade(file, "does not cover");
  TarEntry sparse = SmallSparse();
  sparse.runs = {{0, 511}, {1024, 512}};
  ExpectNotMade(sparse, "multiple of 512");
  sparse.runs = {{1024, 512}, {0, 512}};
  ExpectNotMade(sparse, "out of order");
  sparse.runs = {{sparse.real_size - 511, 512}};
  ExpectNotMade(sparse, "outside of the file");
  sparse.runs = {{0, 0}};
  ExpectNotMade(sparse, "empty");
  sparse = SmallSparse();
  sparse.real_size = ~std::uint64_t{0};
  ExpectNotMade(sparse, "63 bits");
  sparse = SmallSparse();
  sparse.mode = ~std::uint32_t{0};
  ExpectNotMade(sparse, "octal digits");
}

TEST(TarEntry, HugeSizesAreWrittenInBase256) {
  Random random(4);
  TarEntry sparse = SmallSparse();
  sparse.real_size = std::uint64_t{1} << 60;
  sparse.runs = {{0, 4096}, {std::uint64_t{1} << 50, 512}};
  const auto parsed = ParseTarHeaders(*MakeTarHeaders(sparse));
  ASSERT_TRUE(parsed.ok()) << parsed.error().ToString();
  EXPECT_EQ(parsed->real_size, sparse.real_size);
  EXPECT_EQ(parsed->runs, sparse.runs);
}

}  // namespace
}  // namespace holdfast
