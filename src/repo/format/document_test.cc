#include "repo/format/document.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "testing/repo/test_repository.h"

namespace holdfast {
namespace {

using ::testing::HasSubstr;

class DocumentTest : public ::testing::TestWithParam<Sealing> {
 protected:
  Bytes Seal(std::string_view key, ByteView content) {
    return *SealDocument(keys_, KernelRandom(), key, content);
  }

  const KeyRing keys_{GetParam(), RepositoryId{},
                      GetParam() == Sealing::kNone ? Secret() : KernelRandom().DrawSecret(32)};
};
INSTANTIATE_TEST_SUITE_P(Both, DocumentTest,
                         ::testing::Values(Sealing::kNone, Sealing::kAes256Gcm));

TEST_P(DocumentTest, OpensAsItWasSealed) {
  for (const std::size_t size : {std::size_t{0}, std::size_t{1}, kChunkBytes - 1, kChunkBytes,
                                 kChunkBytes + 1, 3 * kChunkBytes, 3 * kChunkBytes + 17}) {
    const Bytes content = testing::Noise(size, size);
    const auto opened = OpenDocument(keys_, "groups/x", Seal("groups/x", content));
    ASSERT_TRUE(opened.ok()) << size << ": " << opened.error().ToString();
    EXPECT_TRUE(*opened == content) << size;
  }
}

TEST_P(DocumentTest, NoBitCanBeFlippedUnseen) {
  const Bytes document = Seal("groups/x", AsBytes(R"({"small":"document"})"));
  for (std::size_t bit = 0; bit < document.size() * 8; ++bit) {
    Bytes changed = document;
    changed[bit / 8] ^= static_cast<std::byte>(1U << (bit % 8));
    EXPECT_FALSE(OpenDocument(keys_, "groups/x", changed).ok()) << "bit " << bit;
  }
}

TEST_P(DocumentTest, DoesNotOpenShorterLongerOrReordered) {
  const Bytes document = Seal("groups/x", testing::Noise(2 * kChunkBytes + 100, 1));
  for (const std::size_t size : {std::size_t{0}, std::size_t{39}, std::size_t{40}, std::size_t{44},
                                 document.size() / 2, document.size() - 1}) {
    const auto opened = OpenDocument(keys_, "groups/x", ByteView(document).first(size));
    ASSERT_FALSE(opened.ok()) << size;
    EXPECT_EQ(opened.error().code(), ErrorCode::kDataLoss);
    EXPECT_THAT(opened.error().message(), HasSubstr("groups/x"));
  }
  // Without its last chunk, at a border.
  ByteReader reader(document, "test");
  ASSERT_TRUE(reader.Take(kDocumentHeaderBytes).ok());
  const std::uint32_t first = *reader.U32();
  const std::size_t cut = kDocumentHeaderBytes + 4 + first;
  EXPECT_FALSE(OpenDocument(keys_, "groups/x", ByteView(document).first(cut)).ok());

  Bytes longer = document;
  longer.push_back(std::byte{0});
  EXPECT_FALSE(OpenDocument(keys_, "groups/x", longer).ok());

  Bytes swapped(document.begin(), document.begin() + kDocumentHeaderBytes);
  const std::uint32_t second_size = *ByteReader(ByteView(document).subspan(cut), "test").U32();
  Append(swapped, ByteView(document).subspan(cut, 4 + second_size));
  Append(swapped, ByteView(document).subspan(kDocumentHeaderBytes, 4 + first));
  Append(swapped, ByteView(document).subspan(cut + 4 + second_size));
  EXPECT_FALSE(OpenDocument(keys_, "groups/x", swapped).ok());
}

TEST_P(DocumentTest, DoesNotOpenUnderAnotherKeyOrInAnotherRepository) {
  const Bytes document = Seal("groups/x", AsBytes("content"));
  EXPECT_FALSE(OpenDocument(keys_, "groups/y", document).ok());

  RepositoryId other{};
  other[0] = std::byte{1};
  const KeyRing keys(GetParam(), other, keys_.data_key().Copy());
  EXPECT_FALSE(OpenDocument(keys, "groups/x", document).ok());
}

TEST_P(DocumentTest, SingleChunksOpenByTheirPlace) {
  const Bytes content = testing::Noise(kChunkBytes + 5, 2);
  DocumentWriter writer(keys_, KernelRandom(), "images/a.b00000");
  const std::uint32_t first = writer.AddChunk(ByteView(content).first(kChunkBytes), false);
  const std::uint32_t second = writer.AddChunk(ByteView(content).subspan(kChunkBytes), true);
  const Bytes object = writer.object();
  const ByteView sealed = ByteView(object).subspan(kDocumentHeaderBytes + 4 + first + 4, second);
  const auto opened = OpenDocumentChunk(keys_, "images/a.b00000",
                                        {.salt = writer.salt(), .number = 1, .last = true}, sealed);
  ASSERT_TRUE(opened.ok());
  EXPECT_EQ(opened->size(), 5U);
  EXPECT_FALSE(OpenDocumentChunk(keys_, "images/a.b00000",
                                 {.salt = writer.salt(), .number = 0, .last = true}, sealed)
                   .ok());
  EXPECT_FALSE(OpenDocumentChunk(keys_, "images/a.b00000",
                                 {.salt = writer.salt(), .number = 1, .last = false}, sealed)
                   .ok());
}

TEST_P(DocumentTest, EqualDocumentsLookDifferentWhenTheyAreSealed) {
  EXPECT_NE(Seal("groups/x", AsBytes("same")), Seal("groups/x", AsBytes("same")));
}

TEST_P(DocumentTest, RefusesContentThatIsTooLarge) {
  const Bytes content(kDocumentContentMax + 1);
  const auto sealed = SealDocument(keys_, KernelRandom(), "groups/x", content);
  ASSERT_FALSE(sealed.ok());
  EXPECT_EQ(sealed.error().code(), ErrorCode::kResourceExhausted);
}

}  // namespace
}  // namespace holdfast
