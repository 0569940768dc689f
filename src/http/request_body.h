// The body of one request as the bytes that go over the wire. Internal to http.

#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>

#include "base/clock.h"
#include "base/result.h"
#include "http/message.h"

namespace holdfast {

/// Reads an UploadBody, wrapped into a form where it asks for one. One thread.
class RequestBody {
 public:
  /// `body` must outlive this object. A form's boundary is 128 random bits, so that no content
  /// has it by chance.
  explicit RequestBody(const UploadBody& body);

  /// Of everything that is sent, the form's own lines included.
  std::uint64_t size() const noexcept { return head_.size() + body_.size + tail_.size(); }
  /// The content-type that belongs to it; empty when the body is not a form.
  const std::string& content_type() const noexcept { return content_type_; }

  /// Begins anew at the first byte. To be called before the first Read.
  Status Rewind();
  /// As ByteSource::Read. kDataLoss when the source ends before its size is reached.
  Result<std::size_t> Read(const CallContext& call, std::span<std::byte> into);
  /// Everything was read since the last Rewind.
  bool finished() const noexcept { return position_ == size(); }

 private:
  const UploadBody& body_;
  std::string head_;
  std::string tail_;
  std::string content_type_;
  std::unique_ptr<ByteSource> source_;
  std::uint64_t position_ = 0;
};

}  // namespace holdfast
