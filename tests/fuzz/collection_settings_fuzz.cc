// Any text as the settings of a copy: it is judged without falling over, and whatever is taken, the
// copy's vectors are those of the original.

#include <cstdint>
#include <string_view>

#include "base/assert.h"
#include "engine/qdrant/collection_settings.h"
#include "engine/qdrant/layout.h"
#include "model/json.h"

namespace {

using namespace holdfast;
using namespace holdfast::qdrant;

constexpr const char* kCollections[] = {
    R"({"vectors":{"size":4,"distance":"Cosine"},"hnsw_config":{"m":16},"shard_number":2,
        "replication_factor":2,"write_consistency_factor":2,"quantization_config":null,
        "metadata":{"a":{"b":1}}})",
    R"({"vectors":{"a":{"size":4,"distance":"Dot","datatype":"float16","hnsw_config":{"m":8}},
                   "size":{"size":2,"distance":"Euclid",
                           "multivector_config":{"comparator":"max_sim"}}},
        "sparse_vectors":{"s":{"modifier":"idf","index":{"on_disk":true}}},
        "sharding_method":"custom","quantization_config":{"scalar":{"type":"int8"}}})",
    R"({"vectors":{"a":5},"sparse_vectors":{"s":null}})"};

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  for (const char* create : kCollections) {
    Collection collection;
    collection.create_json = create;
    collection.finish_json = R"({"strict_mode_config":{"enabled":true}})";
    const auto made = ReshardedCollection(collection, 3, text);
    if (!made.ok()) {
      HF_ASSERT(!made.error().message().empty());
      continue;
    }
    HF_ASSERT(made->shard_number == 3 && made->replication_factor >= 1);
    const auto body = json::Parse(made->create_json, "a body");
    const auto finish = json::Parse(made->finish_json, "a body");
    HF_ASSERT(body.ok() && finish.ok() && finish->is_object());
    HF_ASSERT(json::Member(*body, "shard_number") == json::Json(3));
    const auto before = LayoutOfCollection(collection.create_json);
    const auto after = LayoutOfCollection(made->create_json);
    HF_ASSERT(before.ok() == after.ok());
    HF_ASSERT(!before.ok() || *before == *after);
    // What it has now is no change.
    const auto again = ReshardedCollection(*made, 3, made->create_json);
    HF_ASSERT(!before.ok() || !again.ok() || again->create_json == made->create_json);
  }
  return 0;
}
