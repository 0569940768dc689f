// Temporary: figures for a report.
#include <gtest/gtest.h>
#include <atomic>
#include <chrono>
#include <cstdio>
#include <thread>
#include <filesystem>
#include "store/directory_store.h"
#include "store/s3_store.h"
#include "stream/digest.h"
#include "testing/versitygw.h"
#include "testing/temp_folder.h"
#include "testing/http_test_server.h"
#include "stream/byte_sink.h"
namespace holdfast { namespace {
Bytes Noise(std::size_t n){ Bytes b(n); std::uint64_t s=1; for (auto& x: b){ s=s*6364136223846793005ULL+1442695040888963407ULL; x=static_cast<std::byte>(s>>56);} return b; }
double Seconds(const std::function<void()>& f){ auto a=SystemClock().Monotonic(); f(); return std::chrono::duration<double>(SystemClock().Monotonic()-a).count(); }
void RunIt(const char* name, ObjectStore& store, std::size_t size, int count, int threads){
  const Bytes body = Noise(size);
  auto par=[&](auto work){ std::atomic<int> next=0; std::vector<std::jthread> t; for(int i=0;i<threads;++i) t.emplace_back([&]{ for(int n=next++; n<count; n=next++) work(n);}); };
  double put = Seconds([&]{ par([&](int n){ ASSERT_TRUE(store.Put({}, "p/"+std::to_string(n), body, PutMode::kReplace).ok()); }); });
  double get = Seconds([&]{ par([&](int n){ ASSERT_TRUE(store.Get({}, "p/"+std::to_string(n)).ok()); }); });
  double mb = static_cast<double>(size)*count/1e6;
  std::printf("%s size=%zu count=%d threads=%d put %.0f MB/s (%.0f/s) get %.0f MB/s (%.0f/s)\n", name, size, count, threads, mb/put, count/put, mb/get, count/get);
}
TEST(Measure, All){
  { Bytes b=Noise(64*kMiB); double t=Seconds([&]{ Sha256Of(b); }); std::printf("sha256 %.0f MB/s\n", 67.1/t); }
  testing::TempFolder f; auto d=DirectoryStore::Open(SystemClock(), f.path().string()); 
  std::string why; auto vg=testing::VersityGw::Start(why); ASSERT_TRUE(vg) << why;
  auto http=*HttpClient::Create(SystemClock(), {});
  auto s3=*S3Store::Create(*http, SystemClock(), {.endpoint=vg->url(), .bucket="bench"}, testing::VersityGw::Credentials());
  ASSERT_TRUE(s3->CreateBucket({}).ok());
  for (int threads : {1,4}) { RunIt("directory", **d, 16*kMiB, 32, threads); RunIt("directory", **d, 4096, 400, threads); RunIt("s3", *s3, 16*kMiB, 32, threads); RunIt("s3", *s3, 4096, 400, threads);} 
  double l=Seconds([&]{ ASSERT_TRUE(s3->List({}, "p/", "").ok()); }); std::printf("s3 list 400: %.1f ms\n", l*1e3);
  for (int streams : {1, 8, 32}) {
    std::uint64_t per = 512*kMiB/static_cast<std::uint64_t>(streams);
    testing::HttpTestServer server([&](const testing::TestRequest&, testing::TestConnection& c){ std::string piece(256*1024,'x'); c.Send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"); for(std::uint64_t n=0;n<per;n+=piece.size()) c.SendChunk(piece); c.Send("0\r\n\r\n"); });
    double t=Seconds([&]{ std::vector<std::jthread> ts; for(int i=0;i<streams;++i) ts.emplace_back([&]{ FunctionSink sink([](const CallContext&, ByteView)->Status{return {};}); ASSERT_TRUE(http->Download({}, {.method=HttpMethod::kGet,.url=server.url()}, sink).ok()); }); });
    std::printf("http download chunked %d streams: %.0f MB/s\n", streams, 536.9/t);
  }
}
}}
