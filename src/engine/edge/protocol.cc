#include "engine/edge/protocol.h"

#include <array>
#include <utility>

#include "engine/qdrant/point_id.h"
#include "model/json.h"

namespace holdfast::edge {
namespace {

using json::Json;

/// How much of a line is quoted.
constexpr std::size_t kQuoted = 120;
constexpr std::string_view kAnswerBegin = "{\"re\":";

std::string Quote(std::string_view line) {
  // Dump makes it one line of UTF-8.
  return json::Dump(Json(std::string(line.substr(0, kQuoted)))) +
         (line.size() > kQuoted ? "..." : "");
}

Error NotOfTheProtocol(std::string_view line, const std::string& why) {
  return Error(
      ErrorCode::kInternal,
      "holdfast-engine wrote a line that is none of the protocol's (" + why + "): " + Quote(line),
      "is the configured [engine] command the holdfast-engine of this release?");
}

/// Checks the shape of a point without building it: a page has megabytes of numbers.
class PointShape final : public nlohmann::json_sax<Json> {
 public:
  bool null() override { return Value(Kind::kOther); }
  bool boolean(bool) override { return Value(Kind::kOther); }
  bool number_integer(number_integer_t) override { return Value(Kind::kOther); }
  bool number_unsigned(number_unsigned_t value) override {
    if (depth_ == 1 && member_ == 1) id = std::to_string(value);
    return Value(Kind::kId);
  }
  bool number_float(number_float_t, const string_t&) override { return Value(Kind::kOther); }
  bool string(string_t& value) override {
    if (depth_ == 1 && member_ == 1) id = json::Dump(Json(value));
    return Value(Kind::kId);
  }
  bool binary(binary_t&) override { return false; }
  bool start_object(std::size_t) override { return Open(Kind::kObject); }
  bool start_array(std::size_t) override { return Open(Kind::kArray); }
  bool end_object() override { return Close(); }
  bool end_array() override { return Close(); }
  bool key(string_t& name) override {
    if (depth_ > 1) return true;
    static constexpr std::array<std::string_view, 3> kNames = {"id", "vector", "payload"};
    return member_ < kNames.size() && name == kNames[member_++];
  }
  bool parse_error(std::size_t, const std::string&, const nlohmann::detail::exception&) override {
    return false;
  }

  bool whole() const { return depth_ == 0 && member_ == 3; }
  std::string id;

 private:
  enum class Kind { kId, kArray, kObject, kOther };
  /// A value begins: members of the point have their kinds.
  bool Value(Kind kind) const {
    if (depth_ == 0) return kind == Kind::kObject && member_ == 0;
    if (depth_ > 1) return true;
    if (member_ == 1) return kind == Kind::kId;
    if (member_ == 2) return kind == Kind::kArray || kind == Kind::kObject;
    return member_ == 3 && kind == Kind::kObject;
  }
  bool Open(Kind kind) {
    if (!Value(kind) || depth_ >= kPointDepthMax) return false;
    ++depth_;
    return true;
  }
  bool Close() {
    --depth_;
    return true;
  }

  int depth_ = 0;
  /// Members of the point that have begun.
  std::size_t member_ = 0;
};

Error TheirError(json::Reader& in) {
  const std::string code = in.Text("code");
  const std::string message = "holdfast-engine: " + in.Text("message");
  if (code == "protocol") {
    return Error(ErrorCode::kFailedPrecondition, message,
                 "install the holdfast-engine of this holdfast's release");
  }
  if (code == "missing") {
    return Error(ErrorCode::kFailedPrecondition, message,
                 "install it with what it needs (`pip install ./engine` in holdfast's source "
                 "tree), or set [engine] command");
  }
  if (code == "newer") {
    return Error(ErrorCode::kUnsupported, message,
                 "install a holdfast-engine with a newer qdrant-edge-py; a restore with the "
                 "shards of the group needs none");
  }
  if (code == "damaged") return Error(ErrorCode::kDataLoss, message);
  if (code == "memory") {
    return Error(ErrorCode::kFailedPrecondition, message, "raise [engine] memory_bytes");
  }
  if (code == "room") {
    return Error(ErrorCode::kResourceExhausted, message,
                 "make room, or set [restore] scratch_directory to another disk");
  }
  if (code == "too_large") return Error(ErrorCode::kUnsupported, message);
  return Error(ErrorCode::kInternal, message);
}

/// The document of an answer that says yes.
Result<Json> ReadAnswer(std::string_view line, std::uint64_t number) {
  const auto document = json::Parse(line, "an answer of holdfast-engine");
  if (!document.ok()) return NotOfTheProtocol(line, document.error().message());
  json::Reader in(*document, "the answer");
  const std::uint64_t re = in.Number("re");
  const bool yes = in.Flag("ok");
  if (!in.status().ok()) return NotOfTheProtocol(line, in.status().error().message());
  if (!yes) {
    // Number 0: what failed has none, for it could not even be read.
    const Error error = TheirError(in);
    if (!in.status().ok()) return NotOfTheProtocol(line, in.status().error().message());
    return error;
  }
  if (re != number) {
    return NotOfTheProtocol(line, "request " + std::to_string(number) + " was to be answered");
  }
  return *document;
}

template <class T>
Result<T> Whole(const json::Reader& in, std::string_view line, T value) {
  if (in.status().ok()) return value;
  return NotOfTheProtocol(line, in.status().error().message());
}

}  // namespace

std::string HelloRequest(std::uint64_t number) {
  return json::Dump({{"id", number}, {"op", "hello"}, {"protocol", kProtocol}}) + "\n";
}

std::string OpenRequest(std::uint64_t number, const std::string& tar, const std::string& folder) {
  return json::Dump({{"id", number}, {"op", "open"}, {"tar", tar}, {"folder", folder}}) + "\n";
}

Result<std::string> PageRequest(std::uint64_t number, const std::string& after,
                                const PageLimits& limits) {
  Json position;
  if (!after.empty()) {
    HF_TRY(const qdrant::PointId id, qdrant::ParsePointId(after));
    const std::string text = qdrant::FormatPointId(id);
    position = id.is_uuid ? Json(text.substr(1, text.size() - 2)) : Json(id.number);
  }
  return json::Dump({{"id", number},
                     {"op", "page"},
                     {"after", std::move(position)},
                     {"limit", limits.points},
                     {"bytes", limits.bytes}}) +
         "\n";
}

bool IsAnswer(std::string_view line) noexcept { return line.starts_with(kAnswerBegin); }

Result<SourcePoint> ReadPoint(std::string_view line) {
  PointShape shape;
  const bool parsed = Json::sax_parse(line.begin(), line.end(), &shape);
  const auto id = parsed && shape.whole()
                      ? qdrant::ParsePointId(shape.id)
                      : Result<qdrant::PointId>(Error(ErrorCode::kDataLoss, ""));
  if (!id.ok()) {
    return Error(ErrorCode::kDataLoss,
                 "holdfast-engine gave something that is no point: " + Quote(line));
  }
  return SourcePoint{.id_json = qdrant::FormatPointId(*id), .point_json = std::string(line)};
}

Result<Hello> ReadHello(std::string_view line, std::uint64_t number) {
  HF_TRY(const Json document, ReadAnswer(line, number));
  json::Reader in(document, "the answer to hello");
  const std::uint64_t version = in.Number("protocol");
  if (in.status().ok() && version != kProtocol) {
    return Error(ErrorCode::kFailedPrecondition,
                 "holdfast-engine speaks version " + std::to_string(version) +
                     " of the protocol, this holdfast " + std::to_string(kProtocol),
                 "install the holdfast-engine of this holdfast's release");
  }
  return Whole(in, line, Hello{.release = in.Text("release"), .segments = in.Text("segments")});
}

Result<OpenImage> ReadOpen(std::string_view line, std::uint64_t number) {
  HF_TRY(const Json document, ReadAnswer(line, number));
  json::Reader in(document, "the answer to open");
  return Whole(in, line,
               OpenImage{.points = in.Number("points"), .segments = in.Array("segments").size()});
}

Result<PageEnd> ReadPageEnd(std::string_view line, std::uint64_t number) {
  HF_TRY(const Json document, ReadAnswer(line, number));
  json::Reader in(document, "the answer to page");
  return Whole(in, line, PageEnd{.count = in.Number("count"), .more = in.Flag("more")});
}

}  // namespace holdfast::edge
