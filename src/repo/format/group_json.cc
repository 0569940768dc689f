#include "repo/format/group_json.h"

#include <fmt/format.h>

#include "model/group.h"
#include "model/json.h"
#include "repo/format/image_format.h"

namespace holdfast {
namespace {

using json::Json;

constexpr std::uint32_t kFormat = 1;

Error Damaged(std::string_view what, std::string_view why) {
  return Error(ErrorCode::kDataLoss, fmt::format("{} is damaged: {}", what, why));
}

/// Texts come from callers; the library throws for bytes that are not UTF-8.
Result<std::string> Dump(const Json& document, std::string_view what) {
  try {
    return document.dump();
  } catch (const Json::exception&) {
    return Error(ErrorCode::kInvalidArgument, fmt::format("{} is not valid UTF-8 text", what));
  }
}

Status CheckFormat(json::Reader& reader, std::string_view what) {
  const std::uint32_t format = reader.Number32("format");
  HF_RETURN_IF_ERROR(reader.status());
  if (format == kFormat) return {};
  return Error(ErrorCode::kUnsupported, fmt::format("{} has the unknown format {}", what, format),
               "Use a newer version of holdfast");
}

Result<GroupId> ReadGroupId(const std::string& text, std::string_view what) {
  if (!IsGroupId(text)) return Damaged(what, "a group id is none");
  return GroupId(text);
}

Json ImageToJson(const ImageRef& image) {
  return {{"key", image.key},
          {"label", image.label},
          {"bytes", image.bytes},
          {"sha256", ToHex(image.sha256)},
          {"files", image.files},
          {"blocks", image.blocks},
          {"bytes_new", image.bytes_new}};
}

Result<ImageRef> ImageFromJson(const Json& member, const GroupId& group, std::string_view what) {
  json::Reader reader(member, what);
  ImageRef image;
  image.key = reader.Text("key");
  image.label = reader.Text("label");
  image.bytes = reader.Number("bytes");
  const std::string sha256 = reader.Text("sha256");
  image.files = reader.Number("files");
  image.blocks = reader.Number("blocks");
  image.bytes_new = reader.Number("bytes_new");
  HF_RETURN_IF_ERROR(reader.status());
  HF_TRY(image.sha256, DigestFromHex(sha256, what));
  const auto key = ParseKey(image.key);
  if (!key || key->kind != KeyKind::kImage || key->group != group) {
    return Damaged(what, "the key of an image is none of this group");
  }
  return image;
}

Result<RecordRef> RecordFromJson(const Json& member, std::string_view what) {
  json::Reader reader(member, what);
  RecordRef record;
  record.number = reader.Number32("number");
  record.bytes = reader.Number("bytes");
  const std::string sha256 = reader.Text("sha256");
  HF_RETURN_IF_ERROR(reader.status());
  HF_TRY(record.sha256, DigestFromHex(sha256, what));
  return record;
}

Result<std::vector<GroupId>> GroupIds(const Json& array, std::string_view what) {
  std::vector<GroupId> groups;
  for (const Json& member : array) {
    if (!member.is_string()) return Damaged(what, "a group id is none");
    HF_TRY(GroupId group, ReadGroupId(member.get<std::string>(), what));
    groups.push_back(std::move(group));
  }
  return groups;
}

Json GroupIdsToJson(const std::vector<GroupId>& groups) {
  Json array = Json::array();
  for (const GroupId& group : groups) array.push_back(group.value());
  return array;
}

}  // namespace

Result<std::string> WriteManifest(const RepositoryId& repository, const GroupEnvelope& envelope) {
  Json records = Json::array();
  for (const RecordRef& record : envelope.records) {
    records.push_back(
        {{"number", record.number}, {"bytes", record.bytes}, {"sha256", ToHex(record.sha256)}});
  }
  Json images = Json::array();
  for (const ImageRef& image : envelope.images) images.push_back(ImageToJson(image));
  const Json document = {{"format", kFormat},
                         {"repository", ToHex(repository)},
                         {"group", envelope.group.value()},
                         {"records", std::move(records)},
                         {"images", std::move(images)},
                         {"borrows_from", GroupIdsToJson(envelope.borrows_from)},
                         {"body", envelope.body}};
  return Dump(document, "the manifest");
}

Result<GroupEnvelope> ReadManifestJson(const RepositoryId& repository, const GroupId& group,
                                       std::string_view text, std::string_view what) {
  HF_TRY(const Json document, json::Parse(text, what));
  json::Reader reader(document, what);
  HF_RETURN_IF_ERROR(CheckFormat(reader, what));
  GroupEnvelope envelope;
  const std::string of_repository = reader.Text("repository");
  envelope.group = GroupId(reader.Text("group"));
  envelope.body = reader.Text("body");
  const Json& records = reader.Array("records");
  const Json& images = reader.Array("images");
  const Json& borrows_from = reader.Array("borrows_from");
  HF_RETURN_IF_ERROR(reader.status());
  if (envelope.group != group || of_repository != ToHex(repository)) {
    return Damaged(what, "it is of another group or repository");
  }
  for (const Json& member : records) {
    HF_TRY(const RecordRef record, RecordFromJson(member, what));
    if (!envelope.records.empty() && envelope.records.back().number >= record.number) {
      return Damaged(what, "its records are out of order");
    }
    envelope.records.push_back(record);
  }
  for (const Json& member : images) {
    HF_TRY(ImageRef image, ImageFromJson(member, group, what));
    envelope.images.push_back(std::move(image));
  }
  HF_TRY(envelope.borrows_from, GroupIds(borrows_from, what));
  return envelope;
}

Result<std::string> WriteIntent(const IntentNote& note, std::uint64_t renewals) {
  Json document = {{"format", kFormat},
                   {"purpose", note.purpose},
                   {"relies_on", GroupIdsToJson(note.relies_on)},
                   {"renewals", renewals}};
  if (note.own) document["own"] = note.own->value();
  return Dump(document, "the purpose of an intent");
}

Result<IntentNote> ReadIntent(std::string_view text, std::string_view what) {
  HF_TRY(const Json document, json::Parse(text, what));
  json::Reader reader(document, what);
  HF_RETURN_IF_ERROR(CheckFormat(reader, what));
  IntentNote note;
  note.purpose = reader.Text("purpose");
  const Json& relies_on = reader.Array("relies_on");
  const std::string own = reader.TextOr("own", "");
  HF_RETURN_IF_ERROR(reader.status());
  HF_TRY(note.relies_on, GroupIds(relies_on, what));
  if (!own.empty()) {
    HF_TRY(note.own, ReadGroupId(own, what));
  }
  return note;
}

Result<std::string> WriteForgetMark(const GroupId& group, std::string_view note) {
  const Json document = {{"format", kFormat}, {"group", group.value()}, {"note", note}};
  return Dump(document, "the note of a forget mark");
}

Result<std::string> ReadForgetMark(const GroupId& group, std::string_view text,
                                   std::string_view what) {
  HF_TRY(const Json document, json::Parse(text, what));
  json::Reader reader(document, what);
  HF_RETURN_IF_ERROR(CheckFormat(reader, what));
  const std::string of_group = reader.Text("group");
  std::string note = reader.Text("note");
  HF_RETURN_IF_ERROR(reader.status());
  if (of_group != group.value()) return Damaged(what, "it is of another group");
  return note;
}

}  // namespace holdfast
