// Role 5 of an engine: writing points, for a logical copy.

#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/clock.h"
#include "base/result.h"
#include "engine/point_source.h"
#include "model/group.h"
#include "model/topology.h"

namespace holdfast {

/// Whether two texts are the same point, as the server would print it. Thread-safe.
class PointComparer {
 public:
  virtual ~PointComparer() = default;
  /// `a` and `b` as SourcePoint::point_json. False for texts that are no points.
  virtual bool Same(std::string_view a, std::string_view b) const = 0;
};

/// Role 5: writing points, for a logical copy.
class PointWriter {
 public:
  virtual ~PointWriter() = default;

  /// Writes the points through the collection, so that each goes to the shard (of `key`, with
  /// custom sharding) that it belongs to; applied and visible when it returns. Making the same call
  /// again gives the same points. Texts go to the server as they are.
  virtual Status UpsertPoints(const CallContext& call, const std::string& collection,
                              const std::optional<ShardKey>& key,
                              const std::vector<SourcePoint>& points) = 0;

  // What follows asks nobody.

  /// `collection` with another number of shards, and with `settings` laid over its own: the
  /// engine's own JSON for a collection, of which null removes a member; empty: none. What creates
  /// it and what finishes it is filled in. kInvalidArgument naming every setting that there is not,
  /// and every one that would change or lose points, each with what to do instead.
  virtual Result<Collection> Resharded(const Collection& collection, std::uint32_t shards,
                                       std::string_view settings) = 0;
  /// For points of a collection of this layout: equal ids, payloads and vectors. What one server
  /// may change by storing the same point again does not count: the last bits of a number in a
  /// payload, and of a vector that it normalizes.
  virtual Result<std::unique_ptr<PointComparer>> NewComparer(const Collection& collection) = 0;
  /// True when the scores of `query` change with the number of shards while the points do not, so
  /// that its answer proves nothing about a resharded collection.
  virtual bool DependsOnShards(const Collection& collection, const GoldenQuery& query) = 0;
};

}  // namespace holdfast
