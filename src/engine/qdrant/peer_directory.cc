#include "engine/qdrant/peer_directory.h"

#include <algorithm>
#include <set>
#include <utility>

#include "engine/qdrant/at_once.h"

namespace holdfast::qdrant {
namespace {

constexpr Duration kPoll = std::chrono::milliseconds(50);

std::string NameOf(PeerId peer) {
  return peer == kStandalonePeer ? "a stand-alone server" : FormatPeer(peer);
}

// The addresses that peers are guessed at have these and nothing else in common.
bool SamePort(const Url& a, const Url& b) {
  return a.scheme() == b.scheme() && a.port() == b.port();
}

}  // namespace

/// What a given address said.
struct PeerDirectory::Answer {
  Url url;
  std::optional<NodeView> view;
  std::optional<Error> error;
  /// Another peer that answered there as well: a load balancer.
  std::optional<PeerId> other;
};

PeerDirectory::PeerDirectory(const NodeApi& api, std::vector<Url> given)
    : api_(api), given_(std::move(given)) {
  HF_ASSERT(!given_.empty());
}

Result<NodeView> PeerDirectory::AskNode(const CallContext& call, const Url& url) const {
  HttpRequest request = api_.Request(HttpMethod::kGet, url / "cluster", Right::kRead);
  // A connection of its own: what a kept one says tells nothing about the next.
  request.idempotent = false;
  Result<HttpResponse> answer = api_.http().Send(call, request);
  if (!answer.ok()) {
    const bool ours = !api_.clock().Check(call).ok();
    if (answer.error().code() == ErrorCode::kDeadlineExceeded && !ours) {
      return std::move(answer).error().As(ErrorCode::kUnavailable);
    }
    return std::move(answer).error();
  }
  HF_TRY(const json::Json result, ResultOfAnswer(request, *answer, Effect::kRead));
  Result<NodeView> view = ReadNodeView(result);
  if (!view.ok()) return std::move(view).error().While(request.Describe());
  return view;
}

PeerDirectory::Answer PeerDirectory::AskGiven(const CallContext& call, const Url& url,
                                              int asks) const {
  Answer answer{.url = url, .view = std::nullopt, .error = std::nullopt, .other = std::nullopt};
  for (int ask = 0; ask < asks; ++ask) {
    Result<NodeView> view = AskNode(call, url);
    if (!view.ok()) {
      if (!answer.view) answer.error = std::move(view).error();
      return answer;
    }
    if (answer.view && answer.view->peer != view->peer) {
      answer.other = view->peer;
      return answer;
    }
    answer.view = *std::move(view);
    // Without a cluster there is nothing to balance between.
    if (!answer.view->distributed) return answer;
  }
  return answer;
}

// The newest view of the one cluster that all given addresses belong to.
Result<NodeView> PeerDirectory::OneCluster(const std::vector<Answer>& answers) const {
  const Answer* newest = nullptr;
  std::size_t answering = 0;
  std::string problems;
  bool all_denied = true;
  for (const Answer& answer : answers) {
    if (answer.other) {
      return Error(ErrorCode::kFailedPrecondition,
                   answer.url.Redacted() + " answers as " + NameOf(answer.view->peer) + " and as " +
                       NameOf(*answer.other) + ": a load balancer stands in front",
                   "give addresses of the nodes themselves, e.g. those of the headless service");
    }
    if (!answer.view) {
      problems += (problems.empty() ? "" : "; ") + answer.error->message();
      all_denied &= answer.error->code() == ErrorCode::kPermissionDenied;
      continue;
    }
    ++answering;
    if (newest == nullptr || newest->view->commit < answer.view->commit) newest = &answer;
  }
  if (newest == nullptr) {
    const Error& first = *answers.front().error;
    if (first.code() == ErrorCode::kCancelled || first.code() == ErrorCode::kDeadlineExceeded) {
      return first;
    }
    return Error(all_denied ? ErrorCode::kPermissionDenied : ErrorCode::kUnavailable,
                 "no address of the cluster answers: " + problems, first.hint());
  }
  for (const Answer& answer : answers) {
    if (!answer.view) continue;
    const bool alone = !answer.view->distributed || !newest->view->distributed;
    const bool member = newest->view->p2p_uris.contains(answer.view->peer);
    if (alone ? answering > 1 : !member) {
      return Error(ErrorCode::kFailedPrecondition,
                   newest->url.Redacted() + " (" + NameOf(newest->view->peer) + ") and " +
                       answer.url.Redacted() + " (" + NameOf(answer.view->peer) +
                       ") do not belong to one cluster",
                   "give addresses of one cluster; a stand-alone server has one address");
    }
  }
  return *newest->view;
}

LocatedCluster PeerDirectory::GivenPeers(const NodeView& newest,
                                         const std::vector<Answer>& answers) const {
  LocatedCluster cluster;
  cluster.distributed = newest.distributed;
  std::map<PeerId, std::string> uris = newest.p2p_uris;
  if (!newest.distributed) uris[kStandalonePeer];
  for (const auto& [id, uri] : uris) {
    LocatedPeer peer{.id = id, .p2p_uri = uri, .url = std::nullopt, .trouble = {}};
    for (const Answer& answer : answers) {
      if (!peer.url && answer.view && answer.view->peer == id) peer.url = answer.url;
    }
    cluster.peers.push_back(std::move(peer));
  }
  return cluster;
}

std::vector<Url> PeerDirectory::Guesses(const std::string& p2p_uri) const {
  std::vector<Url> guesses;
  const Result<Url> parsed = Url::Parse(p2p_uri);
  if (!parsed.ok()) return guesses;
  for (const Url& given : given_) {
    const bool known =
        std::ranges::any_of(guesses, [&](const Url& guess) { return SamePort(guess, given); });
    if (!known) guesses.push_back(given.WithHost(parsed->host()));
  }
  return guesses;
}

void PeerDirectory::Find(const CallContext& call, LocatedPeer& peer) const {
  for (const Url& guess : Guesses(peer.p2p_uri)) {
    const Result<NodeView> view = AskNode(call, guess);
    if (view.ok() && view->peer == peer.id && view->distributed) {
      peer.url = guess;
      peer.trouble.clear();
      return;
    }
    peer.trouble += (peer.trouble.empty() ? "" : "; ") +
                    (view.ok() ? guess.Redacted() + " answers as " + NameOf(view->peer)
                               : view.error().message());
  }
  if (peer.trouble.empty()) peer.trouble = "its address is not known";
}

Result<LocatedCluster> PeerDirectory::Locate(const CallContext& call) {
  bool ruled_out = false;
  {
    const std::scoped_lock lock(mutex_);
    ruled_out = balancer_ruled_out_;
  }
  std::vector<Answer> answers(given_.size());
  HF_RETURN_IF_ERROR(
      ForEach(call, given_.size(), [&](const CallContext& inner, std::size_t i) -> Status {
        answers[i] = AskGiven(inner, given_[i], ruled_out ? 1 : kAsksForBalancer);
        return {};
      }));
  HF_TRY(const NodeView newest, OneCluster(answers));
  LocatedCluster cluster = GivenPeers(newest, answers);
  std::vector<LocatedPeer*> missing;
  for (LocatedPeer& peer : cluster.peers) {
    if (!peer.url) missing.push_back(&peer);
  }
  HF_RETURN_IF_ERROR(
      ForEach(call, missing.size(), [&](const CallContext& inner, std::size_t i) -> Status {
        Find(inner, *missing[i]);
        return {};
      }));
  HF_RETURN_IF_ERROR(api_.clock().Check(call));
  Remember(cluster);
  return cluster;
}

Result<LocatedCluster> PeerDirectory::Located(const CallContext& call) {
  {
    const std::scoped_lock lock(mutex_);
    if (located_at_ && api_.clock().Monotonic() - *located_at_ < kTrustFor) return located_;
  }
  return Locate(call);
}

bool PeerDirectory::standalone() {
  const std::scoped_lock lock(mutex_);
  return located_at_ && !located_.distributed;
}

void PeerDirectory::Remember(const LocatedCluster& cluster) {
  const MonotonicTime now = api_.clock().Monotonic();
  const std::scoped_lock lock(mutex_);
  balancer_ruled_out_ = true;
  located_ = cluster;
  located_at_ = now;
  known_.clear();
  for (const LocatedPeer& peer : cluster.peers) {
    known_[peer.id] = {.url = peer.url, .trouble = peer.trouble, .at = now};
  }
}

std::optional<PeerDirectory::Known> PeerDirectory::Recall(PeerId peer) {
  const std::scoped_lock lock(mutex_);
  const auto found = known_.find(peer);
  if (found == known_.end()) return std::nullopt;
  return found->second;
}

Result<Url> PeerDirectory::Prove(const CallContext& call, PeerId peer, Duration trust) {
  const std::optional<Known> before = Recall(peer);
  std::optional<PeerId> impostor;
  if (before) {
    if (api_.clock().Monotonic() - before->at < trust) {
      if (before->url) return *before->url;
      return Error(ErrorCode::kUnavailable, NameOf(peer) + " does not answer: " + before->trouble);
    }
    if (before->url) {
      const Result<NodeView> view = AskNode(call, *before->url);
      if (view.ok() && view->peer == peer) {
        const std::scoped_lock lock(mutex_);
        known_[peer] = {.url = before->url, .trouble = {}, .at = api_.clock().Monotonic()};
        return *before->url;
      }
      HF_RETURN_IF_ERROR(api_.clock().Check(call));
      if (view.ok()) impostor = view->peer;
    }
  }
  // It moved, it is gone, or it was never looked for.
  HF_TRY(const LocatedCluster cluster, Locate(call));
  const auto found = std::ranges::find(cluster.peers, peer, &LocatedPeer::id);
  if (found == cluster.peers.end()) {
    return Error(ErrorCode::kNotFound, "the cluster has no " + NameOf(peer));
  }
  if (found->url) return *found->url;
  if (impostor) {
    return Error(ErrorCode::kAborted, before->url->Redacted() + " answers as " + NameOf(*impostor) +
                                          " by now, not as " + NameOf(peer));
  }
  return Error(ErrorCode::kUnavailable, NameOf(peer) + " does not answer: " + found->trouble);
}

Result<Url> PeerDirectory::UrlOf(const CallContext& call, PeerId peer) {
  return Prove(call, peer, kTrustFor);
}

Result<Url> PeerDirectory::ProvenUrlOf(const CallContext& call, PeerId peer) {
  return Prove(call, peer, Duration(0));
}

Result<Url> PeerDirectory::AnyUrl(const CallContext& call) {
  std::vector<PeerId> candidates;
  {
    const std::scoped_lock lock(mutex_);
    for (const auto& [peer, known] : known_) {
      if (known.url) candidates.push_back(peer);
    }
  }
  for (const PeerId peer : candidates) {
    Result<Url> url = UrlOf(call, peer);
    if (url.ok() || !api_.clock().Check(call).ok()) return url;
  }
  HF_TRY(const LocatedCluster cluster, Locate(call));
  for (const LocatedPeer& peer : cluster.peers) {
    if (peer.url) return *peer.url;
  }
  return Error(ErrorCode::kUnavailable, "no address of the cluster answers");
}

Result<Url> PeerDirectory::LeaderUrl(const CallContext& call) {
  HF_TRY(Url any, AnyUrl(call));
  const Result<NodeView> view = AskNode(call, any);
  if (view.ok() && view->leader && *view->leader != view->peer) {
    Result<Url> leader = UrlOf(call, *view->leader);
    if (leader.ok()) return leader;
  }
  HF_RETURN_IF_ERROR(api_.clock().Check(call));
  return any;
}

Status PeerDirectory::AwaitEverywhere(const CallContext& call, const std::string& what,
                                      const Seen& seen) {
  HF_TRY(const LocatedCluster cluster, Located(call));
  const CallContext within = api_.clock().Within(call, api_.timeouts().change);
  for (const LocatedPeer& peer : cluster.peers) {
    if (!peer.url) continue;
    for (;;) {
      const Result<bool> done = seen(within, *peer.url);
      if (done.ok() && *done) break;
      // A peer that has died meanwhile is none that the next call can go to.
      if (!done.ok() && done.error().code() == ErrorCode::kUnavailable &&
          api_.clock().Check(within).ok()) {
        break;
      }
      if (!done.ok() && api_.clock().Check(within).ok()) return done.error().While(what);
      const Status slept = api_.clock().SleepFor(within, kPoll);
      if (slept.ok()) continue;
      return Error(slept.error().code(),
                   what + ": " + FormatPeer(peer.id) + " has not seen it yet");
    }
  }
  return {};
}

}  // namespace holdfast::qdrant
