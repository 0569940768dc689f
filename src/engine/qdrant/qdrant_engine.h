// Qdrant as an Engine: 1.17 and newer, clusters and stand-alone servers, over the REST API.

#pragma once

#include <memory>
#include <string>
#include <vector>

#include "base/clock.h"
#include "base/result.h"
#include "base/secret.h"
#include "engine/engine.h"

namespace holdfast {

struct QdrantOptions {
  /// The cluster's name in the configuration, for messages.
  std::string name;
  /// Any one address of a node is enough where the peers share a port ("http://10.0.0.1:6333");
  /// else one for each. Never that of a load balancer.
  std::vector<std::string> urls;
  /// Keys by what they are for; a missing one is replaced by the next that is there, the one with
  /// the fewest rights first. All empty: a server without keys (reference 0.2).
  ///   read_key    global r: observing, counting, reading points
  ///   key         rw on the collections: streams and stored snapshots
  ///   manage_key  global m: everything that restore changes
  Secret read_key;
  Secret key;
  Secret manage_key;
  /// PEM file with the authorities to trust; empty: those of the system.
  std::string ca_file;
  /// Accepts every certificate.
  bool insecure = false;
  Duration connect_timeout = std::chrono::seconds(5);
  /// Longest silence of a node that is asked something.
  Duration answer_timeout = std::chrono::seconds(30);
  /// Of operations that go through consensus.
  Duration change_timeout = std::chrono::seconds(60);
};

/// Checks the options and finds the cluster's peers. `clock` must outlive the engine.
///
/// A stand-alone server is a cluster of one peer with the id 0, which no cluster's peer has.
/// Versions are told, not judged. kConfiguration for options that cannot work; the errors of
/// ClusterReader::ReadTopology.
Result<std::unique_ptr<Engine>> OpenQdrant(const CallContext& call, QdrantOptions options,
                                           Clock& clock);

}  // namespace holdfast
