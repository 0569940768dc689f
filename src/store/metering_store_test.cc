#include "store/metering_store.h"

#include <gtest/gtest.h>

#include "testing/memory_object_store.h"

namespace holdfast {
namespace {

TEST(MeteringStore, CountsCallsBytesAndFailures) {
  testing::MemoryObjectStore memory;
  MeteringStore store(memory);
  const Bytes body(1000);

  ASSERT_TRUE(store.Put({}, "a", body, PutMode::kReplace).ok());
  ASSERT_FALSE(store.Put({}, "a", body, PutMode::kIfAbsent).ok());
  ASSERT_TRUE(store.Get({}, "a", ByteRange{.offset = 10, .size = 7}).ok());
  ASSERT_FALSE(store.Get({}, "b").ok());
  ASSERT_TRUE(store.Stat({}, "a").ok());
  ASSERT_TRUE(store.List({}, "", "").ok());
  ASSERT_TRUE(store.Delete({}, "a").ok());

  const StoreUsage usage = store.usage();
  EXPECT_EQ(usage.puts, 2U);
  EXPECT_EQ(usage.gets, 2U);
  EXPECT_EQ(usage.stats, 1U);
  EXPECT_EQ(usage.lists, 1U);
  EXPECT_EQ(usage.deletes, 1U);
  EXPECT_EQ(usage.failures, 2U);
  EXPECT_EQ(usage.bytes_put, 1000U);
  EXPECT_EQ(usage.bytes_got, 7U);
}

}  // namespace
}  // namespace holdfast
