#include "engine/qdrant/node_api.h"

#include <algorithm>
#include <utility>

namespace holdfast::qdrant {
namespace {

using json::Json;

// Answers that describe a whole cluster: 12 MiB at 10,000 shards of three replicas.
constexpr std::uint64_t kAnswerBytesMax = 256 * kMiB;
constexpr int kAsksMax = 3;
constexpr int kKnownAsksMax = 4;
constexpr Duration kKnownPause = std::chrono::milliseconds(200);
// The server gives up first, so that its answer says what happened.
constexpr Duration kChangeMargin = std::chrono::seconds(15);
constexpr Duration kChangeTimeoutMin = std::chrono::seconds(1);

}  // namespace

HttpRequest NodeApi::Request(HttpMethod method, Url url, Right right) const {
  HttpRequest request;
  request.method = method;
  request.url = std::move(url);
  request.timeouts = {.connect = timeouts_.connect,
                      .first_byte = timeouts_.answer,
                      .between_bytes = timeouts_.answer};
  request.response_bytes_max = kAnswerBytesMax;
  const std::shared_ptr<const Secret>& key = right == Right::kRead      ? keys_.read
                                             : right == Right::kCapture ? keys_.capture
                                                                        : keys_.manage;
  if (key != nullptr && !key->empty()) request.secret_headers.push_back({"api-key", "", key});
  return request;
}

Result<Json> NodeApi::Get(const CallContext& call, Url url, Right right) const {
  return AskUntilServed(call, Request(HttpMethod::kGet, std::move(url), right));
}

Result<Json> NodeApi::GetKnown(const CallContext& call, const Url& url) const {
  for (int ask = 1;; ++ask) {
    Result<Json> result = Get(call, url);
    const bool missed = !result.ok() && result.error().code() == ErrorCode::kNotFound;
    if (!missed || ask == kKnownAsksMax) return result;
    HF_RETURN_IF_ERROR(clock_.SleepFor(call, kKnownPause));
  }
}

Result<Json> NodeApi::Ask(const CallContext& call, Url url, const Json& body, Right right) const {
  HttpRequest request = Request(HttpMethod::kPost, std::move(url), right);
  request.headers.Add("content-type", "application/json");
  request.body = json::Dump(body);
  request.idempotent = true;
  return AskUntilServed(call, request);
}

Result<std::string> NodeApi::AskText(const CallContext& call, Url url, std::string body,
                                     Right right) const {
  HttpRequest request = Request(HttpMethod::kPost, std::move(url), right);
  request.headers.Add("content-type", "application/json");
  request.body = std::move(body);
  request.idempotent = true;
  HF_TRY(HttpResponse answer, SendUntilServed(call, request));
  if (!answer.ok()) return ErrorOfAnswer(request, answer, Effect::kRead);
  return std::move(answer.body);
}

Result<Json> NodeApi::Write(const CallContext& call, HttpMethod method, Url url, std::string body,
                            Right right) const {
  HttpRequest request = Request(method, std::move(url), right);
  request.headers.Add("content-type", "application/json");
  request.body = std::move(body);
  request.idempotent = true;
  request.timeouts.first_byte = timeouts_.change + kChangeMargin;
  HF_TRY(const HttpResponse answer, SendUntilServed(call, request));
  return ResultOfAnswer(request, answer, Effect::kChange);
}

Result<HttpResponse> NodeApi::SendUntilServed(const CallContext& call,
                                              const HttpRequest& request) const {
  for (int ask = 1;; ++ask) {
    HF_TRY(HttpResponse answer, http_.Send(call, request));
    // A strict collection limits the reads of a minute (reference 2.5).
    if (answer.status != 429 || ask == kAsksMax) return answer;
    HF_RETURN_IF_ERROR(clock_.SleepFor(call, RetryAfter(answer)));
  }
}

Result<Json> NodeApi::AskUntilServed(const CallContext& call, const HttpRequest& request) const {
  HF_TRY(const HttpResponse answer, SendUntilServed(call, request));
  return ResultOfAnswer(request, answer, Effect::kRead);
}

Url NodeApi::WithTimeout(const CallContext& call, const Url& url,
                         std::optional<Duration> at_most) const {
  Duration timeout = std::min(timeouts_.change, at_most.value_or(timeouts_.change));
  if (call.deadline) timeout = std::min(timeout, *call.deadline - clock_.Monotonic());
  timeout = std::max(timeout, kChangeTimeoutMin);
  return url.With(
      "timeout", std::to_string(std::chrono::duration_cast<std::chrono::seconds>(timeout).count()));
}

Result<Json> NodeApi::Change(const CallContext& call, HttpMethod method, Url url, const Json& body,
                             Right right) const {
  HttpRequest request = Request(method, std::move(url), right);
  request.idempotent = false;
  request.timeouts.first_byte = timeouts_.change + kChangeMargin;
  if (!body.is_null()) {
    request.headers.Add("content-type", "application/json");
    request.body = json::Dump(body);
  }
  HF_TRY(const HttpResponse answer, http_.Send(call, request));
  return ResultOfAnswer(request, answer, Effect::kChange);
}

}  // namespace holdfast::qdrant
