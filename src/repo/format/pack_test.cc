#include "repo/format/pack.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "stream/crypto.h"
#include "testing/repo/test_repository.h"

namespace holdfast {
namespace {

using ::testing::HasSubstr;

class PackTest : public ::testing::TestWithParam<Sealing> {
 protected:
  PackTest() { id_[0] = std::byte{0xaa}; }

  /// A pack of `plain` blocks.
  Bytes Make(const std::vector<Bytes>& plain) {
    Bytes buffer;
    PackBuilder builder(keys_, id_, buffer);
    Codec codec;
    for (const Bytes& block : plain) {
      Bytes coded;
      BlockIdentity identity{.name = keys_.NameBlock(block),
                             .codec = 0,
                             .plain_size = static_cast<std::uint32_t>(block.size())};
      identity.codec = static_cast<std::uint8_t>(codec.Encode(block, coded));
      EXPECT_TRUE(builder.Fits(coded.size()));
      builder.Add(identity, coded);
    }
    builder.Finish();
    return buffer;
  }

  /// OK when every block of the pack opens.
  Status Check(ByteView pack) {
    const PackOpener opener(keys_, id_, "packs/test");
    HF_TRY(const auto footer, opener.ReadFooter(pack));
    Codec codec;
    for (const PackEntry& entry : footer) {
      Bytes out;
      HF_RETURN_IF_ERROR(opener.OpenBlock(entry.block, entry.place,
                                          pack.subspan(entry.place.offset, entry.place.sealed_size),
                                          codec, out));
    }
    return {};
  }

  const KeyRing keys_{GetParam(), RepositoryId{},
                      GetParam() == Sealing::kNone ? Secret() : KernelRandom().DrawSecret(32)};
  PackId id_{};
};
INSTANTIATE_TEST_SUITE_P(Both, PackTest, ::testing::Values(Sealing::kNone, Sealing::kAes256Gcm));

TEST_P(PackTest, GivesItsBlocksBack) {
  const std::vector<Bytes> blocks = {testing::Noise(1, 1), Bytes(100'000, std::byte{3}),
                                     testing::Noise(131'072, 2), testing::Noise(4'096, 3)};
  const Bytes pack = Make(blocks);
  const PackOpener opener(keys_, id_, "packs/test");
  const auto footer = opener.ReadFooter(pack);
  ASSERT_TRUE(footer.ok()) << footer.error().ToString();
  ASSERT_EQ(footer->size(), blocks.size());
  Codec codec;
  for (std::size_t i = 0; i < blocks.size(); ++i) {
    const PackEntry& entry = (*footer)[i];
    EXPECT_EQ(entry.place.position, i);
    Bytes out;
    ASSERT_TRUE(opener
                    .OpenBlock(entry.block, entry.place,
                               ByteView(pack).subspan(entry.place.offset, entry.place.sealed_size),
                               codec, out)
                    .ok());
    EXPECT_TRUE(out == blocks[i]) << i;
  }
}

TEST_P(PackTest, TheFooterIsReadFromTheEndAlone) {
  const Bytes pack = Make({testing::Noise(50'000, 1), testing::Noise(50'000, 2)});
  const PackOpener opener(keys_, id_, "packs/test");
  std::size_t needed = 0;
  EXPECT_FALSE(opener.ReadFooterFromEnd(ByteView(pack).last(20), pack.size(), needed).ok());
  ASSERT_GT(needed, 20U);
  const auto footer = opener.ReadFooterFromEnd(ByteView(pack).last(needed), pack.size(), needed);
  ASSERT_TRUE(footer.ok()) << footer.error().ToString();
  EXPECT_EQ(footer->size(), 2U);
}

TEST_P(PackTest, NoBitCanBeFlippedUnseen) {
  const Bytes pack = Make({testing::Noise(40, 1), Bytes(300, std::byte{1}), testing::Noise(7, 2)});
  for (std::size_t bit = 0; bit < pack.size() * 8; ++bit) {
    Bytes changed = pack;
    changed[bit / 8] ^= static_cast<std::byte>(1U << (bit % 8));
    const Status checked = Check(changed);
    ASSERT_FALSE(checked.ok()) << "bit " << bit;
    EXPECT_EQ(checked.error().code(), ErrorCode::kDataLoss);
    EXPECT_THAT(checked.error().message(), HasSubstr("packs/test"));
  }
}

TEST_P(PackTest, DoesNotOpenWhenCutShortOrLengthened) {
  const Bytes pack = Make({testing::Noise(1'000, 1)});
  for (std::size_t size = 0; size < pack.size(); size += 13) {
    EXPECT_FALSE(Check(ByteView(pack).first(size)).ok()) << size;
  }
  Bytes longer = pack;
  longer.push_back(std::byte{0});
  EXPECT_FALSE(Check(longer).ok());
}

TEST_P(PackTest, SwappedBlocksDoNotOpen) {
  const Bytes pack = Make({testing::Noise(500, 1), testing::Noise(500, 2)});
  const PackOpener opener(keys_, id_, "packs/test");
  const auto footer = *opener.ReadFooter(pack);
  ASSERT_EQ(footer[0].place.sealed_size, footer[1].place.sealed_size);
  Bytes changed = pack;
  std::swap_ranges(changed.begin() + footer[0].place.offset,
                   changed.begin() + footer[1].place.offset,
                   changed.begin() + footer[1].place.offset);
  const Status checked = Check(changed);
  ASSERT_FALSE(checked.ok());
  EXPECT_THAT(checked.error().message(), HasSubstr("block 0"));
}

TEST_P(PackTest, ABlockOfAnotherPackDoesNotOpen) {
  const Bytes block = testing::Noise(500, 1);
  const Bytes pack = Make({block});
  PackId other = id_;
  other[5] = std::byte{1};
  const PackOpener opener(keys_, other, "packs/other");
  EXPECT_FALSE(opener.ReadFooter(pack).ok());
}

TEST_P(PackTest, IsFullBeforeItIsTooLarge) {
  Bytes buffer;
  PackBuilder builder(keys_, id_, buffer);
  const Bytes coded = testing::Noise(131'072, 1);
  BlockIdentity identity{.name = {}, .codec = 0, .plain_size = 131'072};
  while (builder.Fits(coded.size())) builder.Add(identity, coded);
  builder.Finish();
  EXPECT_LE(buffer.size(), kPackBytesWanted);
  EXPECT_GT(buffer.size(), kPackBytesWanted - 2 * 131'072);

  // Blocks of one byte: most of the pack is its footer.
  PackBuilder tiny(keys_, id_, buffer);
  identity.plain_size = 1;
  while (tiny.Fits(1)) tiny.Add(identity, ByteView(coded).first(1));
  tiny.Finish();
  EXPECT_LE(buffer.size(), kPackBytesWanted);
}

}  // namespace
}  // namespace holdfast
