#include <gtest/gtest.h>

#include <string>

#include "stream/byte_sink.h"
#include "stream/byte_source.h"

namespace holdfast {
namespace {

TEST(ByteStreams, EverythingIsCopiedInPieces) {
  const std::string text(10'001, 'x');
  BytesSource source(AsBytes(text));
  BytesSink sink(text.size());
  EXPECT_EQ(*CopyAll({}, source, sink, 100), text.size());
  EXPECT_EQ(AsText(sink.bytes()), text);
  std::byte more{};
  EXPECT_EQ(*source.Read({}, {&more, 1}), 0U);
  EXPECT_EQ(sink.Take().size(), text.size());
  EXPECT_TRUE(sink.bytes().empty());
}

TEST(ByteStreams, ASinkInMemoryHasALimit) {
  BytesSource source(AsBytes("0123456789"));
  BytesSink sink(8);
  EXPECT_EQ(CopyAll({}, source, sink, 3).error().code(), ErrorCode::kResourceExhausted);
  EXPECT_EQ(AsText(sink.bytes()), "012345");
}

TEST(ByteStreams, AFunctionMayBeASink) {
  std::string got;
  FunctionSink sink([&](const CallContext&, ByteView bytes) {
    got += AsText(bytes);
    return Status();
  });
  BytesSource source(AsBytes("hello"));
  ASSERT_TRUE(CopyAll({}, source, sink, 2).ok());
  EXPECT_EQ(got, "hello");
}

}  // namespace
}  // namespace holdfast
