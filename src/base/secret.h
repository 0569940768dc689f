// A value that must not be seen: not in a log, an error, argv, the catalog or a test's output.

#pragma once

#include <string>
#include <string_view>

#include "base/bytes.h"

namespace holdfast {

/// Wiped when it dies. Not copyable by accident: Copy() says so at the call. Has no stream
/// operator and no implicit conversion, so that printing one does not compile.
class Secret {
 public:
  Secret() = default;
  explicit Secret(Bytes value) : value_(std::move(value)) {}
  static Secret FromText(std::string_view text) { return Secret(ToBytes(AsBytes(text))); }
  ~Secret();
  Secret(Secret&& other) noexcept;
  Secret& operator=(Secret&& other) noexcept;
  Secret(const Secret&) = delete;
  Secret& operator=(const Secret&) = delete;

  Secret Copy() const { return Secret(value_); }
  bool empty() const noexcept { return value_.empty(); }
  /// The value itself, valid while this object lives. Only for the call that needs it.
  ByteView Reveal() const noexcept { return value_; }

 private:
  void Wipe() noexcept;
  Bytes value_;
};

}  // namespace holdfast
