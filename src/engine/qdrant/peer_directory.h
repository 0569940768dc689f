// Which address answers as which peer. Qdrant has no registry of REST addresses (reference 1.1), so
// they are guessed and every guess is proven by asking. For .cc files only.

#pragma once

#include <functional>
#include <map>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "base/clock.h"
#include "base/ids.h"
#include "base/result.h"
#include "engine/qdrant/documents.h"
#include "engine/qdrant/node_api.h"
#include "http/url.h"

namespace holdfast::qdrant {

/// The id of the one peer of a stand-alone server. Qdrant draws ids from 1..2^53 (reference 1.1),
/// so it is never that of a cluster's peer.
inline const PeerId kStandalonePeer{0};

/// A peer as it was found.
struct LocatedPeer {
  PeerId id;
  std::string p2p_uri;
  /// Proven by `GET /cluster` there; absent when no address is known that answers with this id.
  std::optional<Url> url;
  /// Why there is no url, for people.
  std::string trouble;
};

struct LocatedCluster {
  bool distributed = true;
  /// Ascending by id.
  std::vector<LocatedPeer> peers;
};

/// Finds the peers of one cluster from any of its addresses. An address is one that was given, or
/// the host of a peer's p2p URI with scheme and port of a given one. Thread-safe.
class PeerDirectory {
 public:
  /// `given` is not empty. `api` must outlive the object.
  PeerDirectory(const NodeApi& api, std::vector<Url> given);

  /// Asks all given addresses and then all guessed ones, at once.
  ///
  /// kUnavailable, with what each address said, when none answers (kPermissionDenied when all of
  /// them refuse the key); kFailedPrecondition when one address answers as several peers (a load
  /// balancer), or the addresses belong to different clusters.
  Result<LocatedCluster> Locate(const CallContext& call);

  /// As Locate, but what was found within the last kTrustFor is good enough.
  Result<LocatedCluster> Located(const CallContext& call);

  /// Where `peer` is, proven within the last kTrustFor. kAborted when another peer answers there by
  /// now and the peer is nowhere else; kUnavailable when it does not answer; kNotFound when the
  /// cluster does not know it.
  Result<Url> UrlOf(const CallContext& call, PeerId peer);
  /// As UrlOf, but asks now, whatever was asked before.
  Result<Url> ProvenUrlOf(const CallContext& call, PeerId peer);
  /// Of some peer that answers; the same one as long as it does.
  Result<Url> AnyUrl(const CallContext& call);

  /// Of the peer that leads the cluster's consensus when it answers, else of some peer. Changes go
  /// there: one that another peer forwards while leaders change is lost, which takes the whole
  /// timeout to notice (run: right after a node was killed and started again).
  Result<Url> LeaderUrl(const CallContext& call);

  /// Whether the node at an address has seen something.
  using Seen = std::function<Result<bool>(const CallContext&, const Url&)>;
  /// Polls the peers that answer until each has `seen` it, `what` says what, for people.
  /// kDeadlineExceeded naming one that has not within the change timeout.
  Status AwaitEverywhere(const CallContext& call, const std::string& what, const Seen& seen);

  /// True when what was found last is a stand-alone server.
  bool standalone();

  /// How long an answer is believed. Pods move in seconds, not in milliseconds.
  static constexpr Duration kTrustFor = std::chrono::seconds(2);
  /// Fresh connections that a given address is asked over at first: a load balancer that takes
  /// turns shows with the second, one that draws lots among three with 96 % by the fourth.
  static constexpr int kAsksForBalancer = 4;

 private:
  struct Answer;
  /// What is known of one peer, and since when.
  struct Known {
    std::optional<Url> url;
    std::string trouble;
    MonotonicTime at;
  };

  Result<NodeView> AskNode(const CallContext& call, const Url& url) const;
  Answer AskGiven(const CallContext& call, const Url& url, int asks) const;
  Result<NodeView> OneCluster(const std::vector<Answer>& answers) const;
  LocatedCluster GivenPeers(const NodeView& newest, const std::vector<Answer>& answers) const;
  std::vector<Url> Guesses(const std::string& p2p_uri) const;
  /// Tries the guesses for one peer; fills in url or trouble.
  void Find(const CallContext& call, LocatedPeer& peer) const;
  void Remember(const LocatedCluster& cluster);
  std::optional<Known> Recall(PeerId peer);
  Result<Url> Prove(const CallContext& call, PeerId peer, Duration trust);

  const NodeApi& api_;
  const std::vector<Url> given_;
  std::mutex mutex_;
  bool balancer_ruled_out_ = false;
  LocatedCluster located_;
  std::optional<MonotonicTime> located_at_;
  std::map<PeerId, Known> known_;
};

}  // namespace holdfast::qdrant
