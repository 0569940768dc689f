// How fast the way from a tar to packs is, against zstd -1 of the same bytes in the same run. Run
// by hand (--gtest_also_run_disabled_tests --gtest_filter=Throughput.*) in a release build; nothing
// is asserted about time.

#include <gtest/gtest.h>

#include <chrono>
#include <cmath>
#include <cstdlib>
#include <cstring>
#include <iostream>
#include <random>
#include <thread>

#include "store/directory_store.h"
#include "stream/codec.h"
#include "testing/repo/test_repository.h"
#include "testing/temp_folder.h"

namespace holdfast {
namespace {

using namespace holdfast::testing;

/// Unit vectors of 256 floats, and a third of JSON payload, as segments hold them.
Bytes Vectors(std::size_t bytes, std::uint64_t seed) {
  std::mt19937_64 engine(seed);
  std::normal_distribution<float> normal;
  std::vector<float> values(bytes / sizeof(float));
  for (float& value : values) value = normal(engine) / 16;
  Bytes out(bytes);
  std::memcpy(out.data(), values.data(), out.size());
  return out;
}

Bytes Payload(std::size_t bytes, std::uint64_t seed) {
  Random random(seed);
  std::string text;
  while (text.size() < bytes) {
    text += R"({"id":)" + std::to_string(random.Next() % 1'000'000) + R"(,"title":"word)" +
            std::to_string(random.Next() % 5'000) + R"( and another","price":)" +
            std::to_string(random.Next() % 10'000) + "}";
  }
  text.resize(bytes);
  return ToBytes(AsBytes(text));
}

template <class F>
double Seconds(F work) {
  const auto begin = std::chrono::steady_clock::now();
  work();
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
}

TEST(Throughput, DISABLED_OfABackup) {
  constexpr std::size_t kStreams = 4;
  constexpr std::size_t kBytes = std::size_t{192} << 20;
  TestBackup backup;
  backup.at_once = true;
  backup.known_blocks_max = 256 * 1024;
  for (std::uint64_t i = 0; i < kStreams; ++i) {
    backup.shards.push_back(
        {"shard" + std::to_string(i), MakeTar({{"matrix.dat", Vectors(kBytes / 3 * 2, i)},
                                               {"payload.dat", Payload(kBytes / 3, i)}})});
  }
  double total = 0;
  for (const TestShard& shard : backup.shards) total += static_cast<double>(shard.tar.size());
  const auto rate = [&](double seconds) { return total / 1e6 / seconds; };

  std::size_t small = 0;
  const double zstd = Seconds([&] {
    for (const TestShard& shard : backup.shards) {
      Bytes out;
      ZstdCompress(shard.tar, 1, out);
      small += out.size();
    }
  });
  std::cout << "zstd -1, one thread: " << zstd << " s, " << rate(zstd) << " MB/s, to "
            << static_cast<double>(small) / total << std::endl;
  const double digest = Seconds([&] {
    for (const TestShard& shard : backup.shards) EXPECT_NE(Sha256Of(shard.tar), Digest{});
  });
  std::cout << "SHA-256 of the tars: " << digest << " s" << std::endl;

  for (const Sealing sealing : {Sealing::kAes256Gcm, Sealing::kNone}) {
    const TempFolder folder;
    const TempFolder spool;
    const auto store = *DirectoryStore::Open(SystemClock(), folder.path().string());
    const auto repository = NewRepository(*store, sealing);
    backup.spool_directory = spool.path();
    backup.spool_bytes_max = std::uint64_t{8} << 30;
    backup.parents = {};
    TestBackupResult first;
    const double full = Seconds([&] { first = *Backup(*repository, backup); });
    std::cout << SealingName(sealing) << ": backup " << full << " s, " << rate(full)
              << " MB/s, ratio to zstd " << full / zstd << ", stored "
              << static_cast<double>(first.stats.bytes_stored) / total << ", spool "
              << (first.stats.spool_bytes_top >> 20) << " MiB" << std::endl;
    backup.parents = {first.group};
    const double second = Seconds([&] { EXPECT_TRUE(Backup(*repository, backup).ok()); });
    std::cout << SealingName(sealing) << ": again " << second << " s, " << rate(second) << " MB/s"
              << std::endl;
    const double restore = Seconds([&] {
      std::vector<std::jthread> threads;
      for (const TestShard& shard : backup.shards) {
        threads.emplace_back(
            [&] { EXPECT_TRUE(RestoreTar(*repository, first.group, shard.label).ok()); });
      }
    });
    std::cout << SealingName(sealing) << ": restore " << restore << " s, " << rate(restore)
              << " MB/s" << std::endl;
  }
}

}  // namespace
}  // namespace holdfast
