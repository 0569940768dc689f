#include "engine/qdrant/points/raw_json.h"

#include <cstddef>

namespace holdfast::qdrant {
namespace {

Error Broken(std::string_view what) {
  return {ErrorCode::kUnavailable, "unexpected answer: " + std::string(what)};
}

class Scanner {
 public:
  explicit Scanner(std::string_view text) : text_(text) {}

  bool Take(char c) {
    Blanks();
    if (at_ >= text_.size() || text_[at_] != c) return false;
    ++at_;
    return true;
  }
  bool AtEnd() {
    Blanks();
    return at_ >= text_.size();
  }

  /// A string without its quotes, escapes as they are.
  Result<std::string_view> String() {
    Blanks();
    const std::size_t begin = at_;
    if (!SkipString()) return Broken("a JSON text without the end of a string");
    return text_.substr(begin + 1, at_ - begin - 2);
  }

  Result<std::string_view> Value() {
    Blanks();
    const std::size_t begin = at_;
    std::size_t depth = 0;
    while (at_ < text_.size()) {
      const char c = text_[at_];
      if (c == '"') {
        if (!SkipString()) break;
      } else if (c == '{' || c == '[') {
        ++depth;
        ++at_;
      } else if (c == '}' || c == ']') {
        if (depth == 0) break;  // It closes what the value is in.
        --depth;
        ++at_;
      } else if (depth == 0 && (c == ',' || IsBlank(c))) {
        break;
      } else {
        ++at_;
        if (depth > 0 || at_ >= text_.size()) continue;
        const char next = text_[at_];
        if (next != ',' && next != '}' && next != ']' && !IsBlank(next)) continue;
      }
      if (depth == 0) return text_.substr(begin, at_ - begin);
    }
    return Broken("a JSON text that ends in the middle of a value");
  }

 private:
  static bool IsBlank(char c) { return c == ' ' || c == '\n' || c == '\r' || c == '\t'; }
  void Blanks() {
    while (at_ < text_.size() && IsBlank(text_[at_])) ++at_;
  }
  bool SkipString() {
    if (at_ >= text_.size() || text_[at_] != '"') return false;
    for (++at_; at_ < text_.size(); ++at_) {
      if (text_[at_] == '\\') {
        ++at_;
      } else if (text_[at_] == '"') {
        ++at_;
        return true;
      }
    }
    return false;
  }

  const std::string_view text_;
  std::size_t at_ = 0;
};

}  // namespace

Result<std::vector<std::pair<std::string_view, std::string_view>>> RawMembers(
    std::string_view text) {
  std::vector<std::pair<std::string_view, std::string_view>> members;
  Scanner in(text);
  if (!in.Take('{')) return Broken("no JSON object");
  for (bool more = !in.Take('}'); more; more = !in.Take('}')) {
    if (!members.empty() && !in.Take(',')) return Broken("a JSON object without a comma");
    HF_TRY(const std::string_view name, in.String());
    if (!in.Take(':')) return Broken("a JSON object without a colon");
    HF_TRY(const std::string_view value, in.Value());
    members.emplace_back(name, value);
  }
  if (!in.AtEnd()) return Broken("something behind a JSON object");
  return members;
}

Result<std::vector<std::string_view>> RawElements(std::string_view text) {
  std::vector<std::string_view> elements;
  Scanner in(text);
  if (!in.Take('[')) return Broken("no JSON list");
  for (bool more = !in.Take(']'); more; more = !in.Take(']')) {
    if (!elements.empty() && !in.Take(',')) return Broken("a JSON list without a comma");
    HF_TRY(const std::string_view value, in.Value());
    elements.push_back(value);
  }
  if (!in.AtEnd()) return Broken("something behind a JSON list");
  return elements;
}

}  // namespace holdfast::qdrant
