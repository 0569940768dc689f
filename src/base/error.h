// What went wrong, said so that the next layer, a job record, an exit status and a person can act
// on it.

#pragma once

#include <string>
#include <string_view>

namespace holdfast {

/// Stable codes; the list with the meaning of each is error_codes.def.
enum class ErrorCode {
#define X(name, text, exit_status) name,
#include "base/error_codes.def"
#undef X
};

/// The code's name in JSON and logs, e.g. "data_loss".
std::string_view ErrorCodeName(ErrorCode code) noexcept;

/// The process exit status that a failure with this code ends with (1, 2, 4, 5 or 130).
int ExitStatus(ErrorCode code) noexcept;

/// True where the same call may succeed when made again later without anybody's help.
bool IsRetryable(ErrorCode code) noexcept;

/// A value: cheap to move, safe to hand to another thread. Carries no secrets: whoever makes an
/// Error keeps keys, passwords and signed URLs out of `message` and `hint`.
class Error {
 public:
  Error(ErrorCode code, std::string message, std::string hint = {})
      : code_(code), message_(std::move(message)), hint_(std::move(hint)) {}

  ErrorCode code() const noexcept { return code_; }

  /// Names the thing that failed; context is added in front: "upload pack 3fa9: connection reset".
  const std::string& message() const noexcept { return message_; }

  /// What the person at the terminal can do next; may be empty.
  const std::string& hint() const noexcept { return hint_; }

  /// Adds one clause of context, e.g. While("upload pack 3fa9").
  Error While(std::string_view doing) &&;
  Error While(std::string_view doing) const&;

  /// Replaces the hint unless there is one already.
  Error WithHint(std::string hint) &&;

  /// The same text under another code, for a layer that knows better what the caller should do.
  Error As(ErrorCode code) &&;

  /// "data_loss: upload pack 3fa9: …", with "; hint" behind when there is one. For logs.
  std::string ToString() const;

 private:
  ErrorCode code_;
  std::string message_;
  std::string hint_;
};

}  // namespace holdfast
