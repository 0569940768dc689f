// What a vector database offers to holdfast, in several roles. `engine/qdrant` is the first engine;
// tests have a scripted one. Everything is safe for use from many threads.
//
// A peer is always addressed by id: the engine knows which URL answers with that id, and a call to
// a peer that answers with another id fails (kAborted), because pods move and load balancers lie.

#pragma once

#include "engine/cluster_reader.h"
#include "engine/cluster_writer.h"
#include "engine/point_reader.h"
#include "engine/point_writer.h"
#include "engine/replica_ref.h"
#include "engine/resharder.h"
#include "engine/shard_mover.h"
#include "engine/shard_source.h"

namespace holdfast {

/// One cluster under one configuration.
class Engine : public ClusterReader,
               public ShardSource,
               public PointReader,
               public ClusterWriter,
               public PointWriter,
               public ShardMover,
               public Resharder {};

}  // namespace holdfast
