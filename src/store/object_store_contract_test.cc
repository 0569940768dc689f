// The contract of ObjectStore, for all stores.

#include "testing/object_store_contract.h"

#include <memory>
#include <string>

#include "base/random.h"
#include "store/directory_store.h"
#include "store/limiting_store.h"
#include "store/metering_store.h"
#include "store/retrying_store.h"
#include "store/s3_store.h"
#include "testing/fake_clock.h"
#include "testing/faulty_object_store.h"
#include "testing/memory_object_store.h"
#include "testing/temp_folder.h"
#include "testing/versitygw.h"

namespace holdfast::testing {
namespace {

class MemoryFixture final : public StoreFixture {
 public:
  ObjectStore& store() override { return store_; }

 private:
  MemoryObjectStore store_;
};

class DirectoryFixture final : public StoreFixture {
 public:
  explicit DirectoryFixture(DirectoryStoreOptions options = {}) {
    auto opened = DirectoryStore::Open(SystemClock(), folder_.path().string(), std::move(options));
    HF_ASSERT(opened.ok());
    store_ = *std::move(opened);
  }
  ObjectStore& store() override { return *store_; }

 private:
  TempFolder folder_;
  std::unique_ptr<DirectoryStore> store_;
};

/// Every third call fails: in turn refused, and with its reply lost.
class RetryingFixture final : public StoreFixture {
 public:
  RetryingFixture() {
    faulty_.AllowUnused();
    for (std::uint64_t number = 1; number < 20'000; number += 6) {
      faulty_.AtCall(number, StoreFault::Refuse(ErrorCode::kUnavailable));
      faulty_.AtCall(number + 3, StoreFault::LoseReply(ErrorCode::kDeadlineExceeded));
    }
  }
  ObjectStore& store() override { return store_; }

 private:
  FakeClock clock_;
  Random random_{42};
  MemoryObjectStore memory_;
  FaultyObjectStore faulty_{memory_, clock_};
  RetryingStore store_{faulty_,
                       Retrier{.clock = clock_, .random = random_, .policy = {.attempts_max = 20}}};
};

/// All decorators that ordinary runs have, in their order.
class DecoratedFixture final : public StoreFixture {
 public:
  ObjectStore& store() override { return retrying_; }

 private:
  Random random_{42};
  MemoryObjectStore memory_;
  MeteringStore metering_{memory_};
  LimitingStore limiting_{
      metering_, {.calls_max = 2, .bytes_per_second = 10 * kGiB}, SystemClock()};
  RetryingStore retrying_{limiting_,
                          Retrier{.clock = SystemClock(), .random = random_, .policy = {}}};
};

/// A bucket of its own on a real server.
class S3Fixture final : public StoreFixture {
 public:
  S3Fixture(const VersityGw& server, std::string prefix) {
    auto http = HttpClient::Create(SystemClock(), {});
    HF_ASSERT(http.ok());
    http_ = *std::move(http);
    auto store = S3Store::Create(
        *http_, SystemClock(),
        {.endpoint = server.url(), .bucket = VersityGw::FreshBucket(), .prefix = std::move(prefix)},
        VersityGw::Credentials());
    HF_ASSERT(store.ok());
    store_ = *std::move(store);
    const Status made = store_->CreateBucket({});
    EXPECT_TRUE(made.ok()) << made.error().ToString();
  }
  ObjectStore& store() override { return *store_; }

 private:
  std::unique_ptr<HttpClient> http_;
  std::unique_ptr<S3Store> store_;
};

template <class Fixture>
std::unique_ptr<StoreFixture> Make(std::string&) {
  return std::make_unique<Fixture>();
}

/// As on a file system that cannot rename without replacing.
std::unique_ptr<StoreFixture> MakeDirectoryWithLinks(std::string&) {
  return std::make_unique<DirectoryFixture>(DirectoryStoreOptions{.rename_without_replace = false});
}

std::unique_ptr<StoreFixture> MakeS3(std::string& why_not) {
  const VersityGw* const server = VersityGw::Shared(why_not);
  if (server == nullptr) return nullptr;
  return std::make_unique<S3Fixture>(*server, "");
}

std::unique_ptr<StoreFixture> MakeS3WithPrefix(std::string& why_not) {
  const VersityGw* const server = VersityGw::Shared(why_not);
  if (server == nullptr) return nullptr;
  return std::make_unique<S3Fixture>(*server, "odd prefix+/größe/");
}

INSTANTIATE_TEST_SUITE_P(
    Stores, ObjectStoreContract,
    ::testing::Values(StoreUnderTest{"Memory", Make<MemoryFixture>},
                      StoreUnderTest{"Directory", Make<DirectoryFixture>},
                      StoreUnderTest{"DirectoryWithLinks", MakeDirectoryWithLinks},
                      StoreUnderTest{"RetryingOverFaulty", Make<RetryingFixture>},
                      StoreUnderTest{"Decorated", Make<DecoratedFixture>},
                      StoreUnderTest{"S3", MakeS3},
                      StoreUnderTest{"S3WithPrefix", MakeS3WithPrefix}),
    StoreName);

}  // namespace
}  // namespace holdfast::testing
