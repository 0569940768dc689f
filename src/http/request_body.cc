#include "http/request_body.h"

#include <algorithm>
#include <cstring>
#include <utility>

#include "base/bytes.h"
#include "stream/crypto.h"

namespace holdfast {
namespace {

/// As browsers write names into a form (WHATWG HTML, "multipart/form-data encoding algorithm").
std::string QuotedName(std::string_view name) {
  std::string out = "\"";
  for (const char c : name) {
    if (c == '"') {
      out += "%22";
    } else if (c == '\r') {
      out += "%0D";
    } else if (c == '\n') {
      out += "%0A";
    } else {
      out += c;
    }
  }
  return out + "\"";
}

/// Copies what `text` has at `offset`.
std::size_t CopyFrom(std::string_view text, std::uint64_t offset, std::span<std::byte> into) {
  const std::string_view rest = text.substr(static_cast<std::size_t>(offset));
  const std::size_t size = std::min(rest.size(), into.size());
  std::memcpy(into.data(), rest.data(), size);
  return size;
}

}  // namespace

RequestBody::RequestBody(const UploadBody& body) : body_(body) {
  if (!body.form) return;
  const std::string boundary = "holdfast-" + ToHex(ByteView(KernelRandom().Draw<16>()));
  head_ = "--" + boundary +
          "\r\nContent-Disposition: form-data; name=" + QuotedName(body.form->name) +
          "; filename=" + QuotedName(body.form->file_name) +
          "\r\nContent-Type: " + body.form->content_type + "\r\n\r\n";
  tail_ = "\r\n--" + boundary + "--\r\n";
  content_type_ = "multipart/form-data; boundary=" + boundary;
}

Status RequestBody::Rewind() {
  source_.reset();
  position_ = 0;
  HF_TRY(source_, body_.open());
  HF_ASSERT(source_ != nullptr);
  return {};
}

Result<std::size_t> RequestBody::Read(const CallContext& call, std::span<std::byte> into) {
  std::size_t done = 0;
  const std::uint64_t tail_begin = head_.size() + body_.size;
  if (position_ < head_.size()) {
    done = CopyFrom(head_, position_, into);
  } else if (position_ < tail_begin) {
    const std::uint64_t left = tail_begin - position_;
    const auto most = static_cast<std::size_t>(std::min<std::uint64_t>(left, into.size()));
    HF_TRY(done, source_->Read(call, into.first(most)));
    if (done == 0) {
      return Error(ErrorCode::kDataLoss, "the bytes to be sent ended " + std::to_string(left) +
                                             " before the " + std::to_string(body_.size) +
                                             " that were announced");
    }
  } else if (position_ < size()) {
    done = CopyFrom(tail_, position_ - tail_begin, into);
  }
  position_ += done;
  return done;
}

}  // namespace holdfast
