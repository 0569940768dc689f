// Any text as an answer of a node: readers must judge it without falling over, and what they make
// of it must be usable.

#include <cstdint>
#include <string_view>

#include "base/assert.h"
#include "engine/qdrant/answer.h"
#include "engine/qdrant/collection_config.h"
#include "engine/qdrant/documents.h"
#include "engine/qdrant/layout.h"
#include "engine/qdrant/point_id.h"
#include "engine/qdrant/point_reader.h"
#include "http/message.h"
#include "model/json.h"

namespace {

using namespace holdfast;
using namespace holdfast::qdrant;

void ReadEverything(const json::Json& result) {
  static_cast<void>(ReadNodeView(result));
  static_cast<void>(ReadClusterTelemetry(result));
  static_cast<void>(ReadConfigs(result));
  static_cast<void>(ReadNodeTelemetry(result, PeerId(7)));
  static_cast<void>(ReadPayloadSchema(result));
  static_cast<void>(ReadAliases(result));
  static_cast<void>(ReadCollectionNames(result));
  if (const auto view = ReadPeerCollectionView(result); view.ok()) {
    const CollectionView merged = MergeViews({*view, *view});
    HF_ASSERT(merged.shards.size() == view->view.shards.size());
  }
  Collection collection;
  if (TakeConfig(result, collection).ok()) {
    const auto body = CreateBody(collection.create_json, 2);
    HF_ASSERT(body.ok());
    static_cast<void>(QuantizationToDisable(result, *body));
    static_cast<void>(ReadLimitsOf(collection));
    if (const auto layout = LayoutOfCollection(collection.create_json); layout.ok()) {
      HF_ASSERT(CheckLayout(*layout, *layout).ok());
    }
    static_cast<void>(MakeGoldenQueries(
        collection, {{.id_json = "1", .point_json = collection.create_json, .key = {}}}));
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  HttpRequest request;
  request.url = *Url::Parse("http://127.0.0.1:6333/");
  HttpResponse answer;
  answer.body = text;
  for (const int status : {200, 400, 404, 500}) {
    answer.status = status;
    const auto result = ResultOfAnswer(request, answer, Effect::kChange);
    if (result.ok()) ReadEverything(*result);
  }
  if (const auto document = json::Parse(text, "input"); document.ok()) ReadEverything(*document);
  if (const auto layout = LayoutOfSegment(text); layout.ok()) {
    HF_ASSERT(CheckLayout(*layout, *layout).ok());
  }
  if (const auto id = ParsePointId(text); id.ok()) {
    HF_ASSERT(*ParsePointId(FormatPointId(*id)) == *id);
  }
  return 0;
}
