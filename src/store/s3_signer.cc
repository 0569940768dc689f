#include "store/s3_signer.h"

#include <algorithm>
#include <array>
#include <chrono>
#include <cstdio>
#include <map>

#include "base/bytes.h"
#include "stream/digest.h"

namespace holdfast {
namespace {

constexpr std::string_view kAlgorithm = "AWS4-HMAC-SHA256";

/// Outer blanks are gone already (HttpHeaders); inner runs count as one.
std::string Collapsed(std::string_view value) {
  std::string out;
  for (const char c : value) {
    if (c == ' ' && !out.empty() && out.back() == ' ') continue;
    out += c;
  }
  return out;
}

std::string CanonicalQuery(const Url::Query& query) {
  Url::Query encoded;
  for (const auto& [name, value] : query) {
    encoded.emplace_back(PercentEncode(name), PercentEncode(value));
  }
  std::ranges::sort(encoded);
  std::string out;
  for (const auto& [name, value] : encoded) {
    if (!out.empty()) out += '&';
    out += name + "=" + value;
  }
  return out;
}

/// What is signed of the headers: by name in order, several values of one name joined by commas.
std::map<std::string, std::string> SignedHeaders(const HttpRequest& request) {
  std::map<std::string, std::string> headers;
  const auto add = [&](const std::string& name, std::string_view value) {
    const auto [found, fresh] = headers.emplace(name, Collapsed(value));
    if (!fresh) found->second += "," + Collapsed(value);
  };
  add("host", request.url.Authority());
  for (const auto& [name, value] : request.headers.all()) add(name, value);
  for (const SecretHeader& header : request.secret_headers) {
    add(header.name, header.prefix + std::string(AsText(header.value->Reveal())));
  }
  return headers;
}

Digest SigningKey(const S3Credentials& credentials, std::string_view day, std::string_view region) {
  Bytes first = ToBytes(AsBytes("AWS4"));
  Append(first, credentials.secret_key.Reveal());
  const Secret start(std::move(first));
  Digest key = HmacSha256(start.Reveal()).Of(AsBytes(day));
  for (const std::string_view step :
       {region, std::string_view("s3"), std::string_view("aws4_request")}) {
    key = HmacSha256(key).Of(AsBytes(step));
  }
  return key;
}

}  // namespace

std::string AmzDate(WallTime time) {
  const auto day = std::chrono::floor<std::chrono::days>(time);
  const std::chrono::year_month_day date(day);
  const std::chrono::hh_mm_ss clock(std::chrono::floor<std::chrono::seconds>(time - day));
  std::array<char, 48> text{};
  std::snprintf(text.data(), text.size(), "%04d%02u%02uT%02d%02d%02dZ",
                static_cast<int>(date.year()), static_cast<unsigned>(date.month()),
                static_cast<unsigned>(date.day()), static_cast<int>(clock.hours().count()),
                static_cast<int>(clock.minutes().count()),
                static_cast<int>(clock.seconds().count()));
  return text.data();
}

void SignS3Request(HttpRequest& request, const S3Credentials& credentials, std::string_view region,
                   std::string_view payload_hash, WallTime now) {
  const std::string time = AmzDate(now);
  const std::string day = time.substr(0, 8);
  request.headers.Add("x-amz-date", time);
  request.headers.Add("x-amz-content-sha256", payload_hash);
  if (!credentials.session_token.empty()) {
    request.secret_headers.push_back(
        {"x-amz-security-token", "", std::make_shared<Secret>(credentials.session_token.Copy())});
  }

  std::string header_lines;
  std::string names;
  for (const auto& [name, value] : SignedHeaders(request)) {
    header_lines += name + ":" + value + "\n";
    names += (names.empty() ? "" : ";") + name;
  }
  const std::string canonical = std::string(HttpMethodName(request.method)) + "\n" +
                                request.url.path() + "\n" + CanonicalQuery(request.url.query()) +
                                "\n" + header_lines + "\n" + names + "\n" +
                                std::string(payload_hash);
  const std::string scope = day + "/" + std::string(region) + "/s3/aws4_request";
  const std::string to_sign = std::string(kAlgorithm) + "\n" + time + "\n" + scope + "\n" +
                              ToHex(Sha256Of(AsBytes(canonical)));
  const Digest signature = HmacSha256(SigningKey(credentials, day, region)).Of(AsBytes(to_sign));
  request.headers.Add("authorization",
                      std::string(kAlgorithm) + " Credential=" + credentials.access_key + "/" +
                          scope + ",SignedHeaders=" + names + ",Signature=" + ToHex(signature));
}

}  // namespace holdfast
