#include "engine/qdrant/answer.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <string_view>
#include <utility>

namespace holdfast::qdrant {
namespace {

using json::Json;

constexpr std::size_t kTextMax = 500;
constexpr Duration kRetryAfterMax = std::chrono::minutes(10);

// Texts that say more than the status does (reference 0.1, 1.2, 3.5; transcripts 1 and 2).
struct Meaning {
  std::string_view text;
  ErrorCode code;
};
constexpr std::array kMeanings = {
    Meaning{"is not a local or queue proxy shard", ErrorCode::kNotFound},
    Meaning{"is not a local shard", ErrorCode::kNotFound},
    Meaning{"Local shard ", ErrorCode::kNotFound},
    Meaning{"Checksum mismatch", ErrorCode::kDataLoss},
    Meaning{"checksum mismatch", ErrorCode::kDataLoss},
    Meaning{"Invalid snapshot", ErrorCode::kDataLoss},
    Meaning{"Malformed tar archive", ErrorCode::kDataLoss},
    Meaning{"Storage locked", ErrorCode::kFailedPrecondition},
    Meaning{"standalone mode", ErrorCode::kFailedPrecondition},
    Meaning{"No space left on device", ErrorCode::kResourceExhausted},
    Meaning{"Waiting for consensus operation commit failed", ErrorCode::kDeadlineExceeded},
};

std::string_view HintFor(ErrorCode code) {
  switch (code) {
    case ErrorCode::kPermissionDenied:
      return "give a key with the rights this needs: read_key for observing, key for backup, "
             "manage_key for restore";
    default:
      return {};
  }
}

std::string Cleaned(std::string_view text) {
  std::string out;
  for (const char c : text.substr(0, kTextMax)) {
    out += static_cast<unsigned char>(c) < 0x20 || c == 0x7F ? ' ' : c;
  }
  if (text.size() > kTextMax) out += "...";
  while (!out.empty() && out.back() == ' ') out.pop_back();
  return out;
}

std::string ServerText(const std::string& body) {
  const Json document = Json::parse(body, nullptr, false);
  if (document.is_object()) {
    const auto status = document.find("status");
    if (status != document.end() && status->is_object() && status->contains("error") &&
        (*status)["error"].is_string()) {
      return Cleaned((*status)["error"].get<std::string>());
    }
    if (status != document.end() && status->is_string()) {
      return Cleaned(status->get<std::string>());
    }
  }
  return Cleaned(body);
}

ErrorCode CodeOfStatus(int status, Effect effect) {
  const bool change = effect == Effect::kChange;
  if (status == 401 || status == 403) return ErrorCode::kPermissionDenied;
  if (status == 404) return ErrorCode::kNotFound;
  if (status == 409) return ErrorCode::kAlreadyExists;
  if (status == 408 || status == 504) {
    return change ? ErrorCode::kDeadlineExceeded : ErrorCode::kUnavailable;
  }
  if (status == 429 || status == 507) return ErrorCode::kResourceExhausted;
  if (status >= 300 && status < 400) return ErrorCode::kFailedPrecondition;
  if (status >= 400 && status < 500) return ErrorCode::kInvalidArgument;
  if (status == 503) return ErrorCode::kUnavailable;
  return change ? ErrorCode::kAborted : ErrorCode::kUnavailable;
}

}  // namespace

Duration RetryAfter(const HttpResponse& answer) {
  std::int64_t seconds = 1;
  if (const auto header = answer.headers.Find("retry-after")) {
    std::from_chars(header->data(), header->data() + header->size(), seconds);
  }
  return std::clamp<Duration>(std::chrono::seconds(std::clamp<std::int64_t>(seconds, 1, 3600)),
                              std::chrono::seconds(1), kRetryAfterMax);
}

Error ErrorOfAnswer(const HttpRequest& request, const HttpResponse& answer, Effect effect) {
  const std::string text = ServerText(answer.body);
  ErrorCode code = CodeOfStatus(answer.status, effect);
  if (answer.status == 400 || answer.status == 403 || answer.status >= 500) {
    for (const Meaning& meaning : kMeanings) {
      if (text.find(meaning.text) == std::string::npos) continue;
      code = meaning.code;
      break;
    }
  }
  // A path that the server does not have; what it misses itself it names (transcript 1).
  if (answer.status == 404 && text.empty()) {
    return {ErrorCode::kUnsupported, request.Describe() + ": this server does not have this call",
            "Qdrant 1.17 or newer is needed"};
  }
  std::string message = request.Describe() + ": " + std::to_string(answer.status);
  if (!text.empty()) message += " " + text;
  std::string hint(HintFor(code));
  if (answer.status == 429) hint = "the server asks to wait " + FormatDuration(RetryAfter(answer));
  return {code, std::move(message), std::move(hint)};
}

Error OfState(Error error) {
  if (error.code() != ErrorCode::kInvalidArgument) return error;
  return std::move(error).As(ErrorCode::kFailedPrecondition);
}

Result<Json> ResultOfAnswer(const HttpRequest& request, const HttpResponse& answer, Effect effect) {
  if (!answer.ok()) return ErrorOfAnswer(request, answer, effect);
  Result<Json> document = json::Parse(answer.body, "the answer");
  if (!document.ok() || !document->is_object()) {
    return Error(ErrorCode::kUnavailable,
                 request.Describe() + ": the answer is not that of a Qdrant server",
                 "check the address");
  }
  const auto result = document->find("result");
  return result == document->end() ? Json() : std::move(*result);
}

}  // namespace holdfast::qdrant
