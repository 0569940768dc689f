#include "testing/repo/golden.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstring>
#include <fstream>
#include <sstream>

#include "repo/format/image_format.h"
#include "repo/format/keys.h"
#include "repo/format/pack.h"
#include "repo/group_writer.h"
#include "repo/verify.h"
#include "store/directory_store.h"
#include "store/object_store.h"
#include "testing/repo/test_repository.h"
#include "testing/stream/tar_tools.h"

namespace holdfast::testing {
namespace {

/// float32 values around zero, as vectors have them: crowded exponents, random mantissas.
Bytes Floats(std::size_t count, std::uint64_t seed) {
  Random random(seed);
  Bytes bytes(count * sizeof(float));
  for (std::size_t i = 0; i < count; ++i) {
    double sum = 0;
    for (int k = 0; k < 4; ++k) sum += static_cast<double>(random.Next() >> 11) / 9007199254740992.;
    const auto value = static_cast<float>((sum - 2) / 8);
    std::memcpy(bytes.data() + i * sizeof value, &value, sizeof value);
  }
  return bytes;
}

std::string Text(std::size_t bytes) {
  std::string text;
  while (text.size() < bytes) text += fmt::format("{{\"line\":{}}}\n", text.size() * 7);
  return text;
}

/// A tar for every way in which a block is coded. `changed` stands in one small file.
Bytes CodingsTar(std::uint64_t changed) {
  const Bytes floats = Floats(4'000, 1);
  // Mantissas are kept as they are, exponents become a frame; three bytes are left over.
  Bytes vectors = floats;
  Append(vectors, AsBytes("odd"));
  // Vectors that are stored twice: every plane is a frame.
  Bytes twice = floats;
  Append(twice, floats);
  // A stretch that shrinks behind one that does not, longer than a block.
  Bytes mixed = Noise(5'000, 2);
  mixed.resize(300'000, std::byte{7});
  return MakeTar({{"vectors", vectors},
                  {"twice", twice},
                  {"mixed", mixed},
                  {"noise", Noise(5'000, 3)},
                  {"text", ToBytes(AsBytes(Text(20'000)))},
                  {"small", Noise(100, changed)},
                  {"empty", Bytes()}});
}

/// So many blocks and so many files that both lists of the image have a part.
Bytes ListsTar() {
  Random random(4);
  std::vector<DataRun> runs;
  for (std::uint64_t run = 0; run < kRecordsPerChunk + 16; ++run) runs.push_back({run * 4096, 512});
  ReadEntry sparse = MakeSparse("runs", runs.size() * 4096, runs, random);
  for (std::size_t i = 0; i < sparse.data.size(); ++i) sparse.data[i] = std::byte{0x5a};
  std::vector<ReadEntry> entries{sparse};
  for (int file = 0; file < 2'000; ++file)
    entries.push_back(MakeFile(fmt::format("f{}", file), ""));
  return WriteNew(entries);
}

std::vector<TestShard> ShardsOf(std::uint64_t group) {
  std::vector<TestShard> shards;
  for (const char* name : {"shard-empty.tar", "shard-hybrid.tar"}) {
    shards.push_back({std::string("tests/data/") + name, ReadTestData(name)});
  }
  shards.push_back({"codings", CodingsTar(group)});
  if (group == 1) shards.push_back({"lists", ListsTar()});
  return shards;
}

Status WriteGroup(Repository& repository, std::uint64_t number, std::ostream& list) {
  constexpr std::string_view kAttachment = "{\"collections\":[\"docs\"]}\n";
  TestBackup backup;
  backup.group = GoldenGroup(number);
  backup.body = GoldenBody(number);
  if (number > 1) backup.parents = {GoldenGroup(1)};
  backup.shards = ShardsOf(number);
  backup.record = std::string(kGoldenRecord);
  backup.before_commit = [&](GroupWriter& writer) -> Status {
    BytesSource source(AsBytes(kAttachment));
    HF_RETURN_IF_ERROR(writer.PutFile({}, "attachment/access-policy", source));
    return {};
  };
  const auto line = [&](std::string_view label, ByteView content) {
    list << fmt::format("{} {} {} {}\n", ToHex(Sha256Of(content)), content.size(),
                        backup.group->value(), label);
  };
  for (const TestShard& shard : backup.shards) line(shard.label, shard.tar);
  line("attachment/access-policy", AsBytes(kAttachment));
  HF_RETURN_IF_ERROR(Backup(repository, backup));
  return {};
}

}  // namespace

GroupId GoldenGroup(std::uint64_t number) {
  return GroupId(fmt::format("20261122T03243{0}Z-000000000000000{0}", number));
}

std::string GoldenBody(std::uint64_t number) { return fmt::format(R"({{"group":{}}})", number); }

Status WriteGolden(const std::filesystem::path& folder, Sealing sealing) {
  HF_TRY(const auto store, DirectoryStore::Open(SystemClock(), folder.string(), {.create = true}));
  HF_RETURN_IF_ERROR(InitRepository(*store, sealing));
  HF_TRY(const auto repository, OpenRepository(*store, sealing));
  std::ofstream list(folder.string() + ".sha256");
  for (const std::uint64_t number : {1, 2, 3}) {
    HF_RETURN_IF_ERROR(WriteGroup(*repository, number, list));
  }
  HF_RETURN_IF_ERROR(repository->Forget({}, GoldenGroup(3), kGoldenNote));
  HF_TRY(const VerifyReport report, Verify({}, *repository, {}));
  if (!report.damaged.empty()) return Error(ErrorCode::kInternal, VerifyReportToJson(report));
  if (!list.flush()) {
    return Error(ErrorCode::kInternal, fmt::format("{}.sha256 was not written", folder.string()));
  }
  return {};
}

Result<std::vector<GoldenImage>> ReadGoldenList(const std::filesystem::path& list) {
  std::ifstream file(list);
  std::vector<GoldenImage> images;
  for (std::string line; std::getline(file, line);) {
    GoldenImage image;
    std::string sha256;
    std::string group;
    std::istringstream words(line);
    words >> sha256 >> image.bytes >> group >> image.label;
    if (!words) return Error(ErrorCode::kDataLoss, list.string() + " has the line " + line);
    HF_TRY(image.sha256, DigestFromHex(sha256, list.string()));
    image.group = GroupId(group);
    images.push_back(image);
  }
  return images;
}

Result<std::set<int>> CodecsOf(Repository& repository) {
  std::set<int> codecs;
  std::string after;
  for (;;) {
    HF_TRY(const auto page, repository.store().List({}, kPacksFolder, after));
    if (page.empty()) return codecs;
    for (const StoredObject& object : page) {
      const auto key = ParseKey(object.key);
      if (!key) return Error(ErrorCode::kDataLoss, object.key + " is no pack");
      HF_TRY(const Bytes pack, repository.store().Get({}, object.key));
      const PackOpener opener(repository.keys(), key->pack, object.key);
      HF_TRY(const auto entries, opener.ReadFooter(pack));
      for (const PackEntry& entry : entries) codecs.insert(entry.block.codec);
    }
    after = page.back().key;
  }
}

}  // namespace holdfast::testing
