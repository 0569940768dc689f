#include "store/s3_xml.h"

#include <charconv>
#include <pugixml.hpp>

#include "base/clock.h"

namespace holdfast {
namespace {

constexpr std::size_t kMessageMax = 300;

std::string Showable(std::string_view text) {
  std::string out;
  for (const char c : text.substr(0, kMessageMax)) {
    out += static_cast<unsigned char>(c) < ' ' || c == '\x7f' ? ' ' : c;
  }
  return out;
}

Error NoList(std::string_view why) {
  return {ErrorCode::kUnavailable,
          "the answer to a list request cannot be read: " + std::string(why)};
}

Result<StoredObject> ParseObject(const pugi::xml_node& node) {
  StoredObject object{.key = node.child_value("Key"), .size = 0, .last_modified = {}};
  const std::string_view size = node.child_value("Size");
  const auto [end, code] = std::from_chars(size.data(), size.data() + size.size(), object.size);
  if (code != std::errc() || end != size.data() + size.size()) {
    return NoList("a size is not a number");
  }
  auto modified = ParseTime(node.child_value("LastModified"));
  if (!modified.ok()) return NoList(modified.error().message());
  object.last_modified = *modified;
  return object;
}

}  // namespace

S3ErrorText ParseS3Error(std::string_view body) {
  pugi::xml_document document;
  if (!document.load_buffer(body.data(), body.size())) return {};
  const pugi::xml_node error = document.child("Error");
  return {.code = Showable(error.child_value("Code")),
          .message = Showable(error.child_value("Message"))};
}

Result<S3ListPage> ParseS3List(std::string_view body) {
  pugi::xml_document document;
  // A key may be a blank and nothing else.
  const pugi::xml_parse_result parsed = document.load_buffer(
      body.data(), body.size(), pugi::parse_default | pugi::parse_ws_pcdata_single);
  if (!parsed) return NoList(parsed.description());
  const pugi::xml_node list = document.child("ListBucketResult");
  if (!list) return NoList("it is no ListBucketResult");
  S3ListPage page;
  page.truncated = std::string_view(list.child_value("IsTruncated")) == "true";
  page.next_token = list.child_value("NextContinuationToken");
  for (const pugi::xml_node node : list.children("Contents")) {
    HF_TRY(StoredObject object, ParseObject(node));
    page.objects.push_back(std::move(object));
  }
  return page;
}

}  // namespace holdfast
