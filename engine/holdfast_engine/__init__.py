"""holdfast-engine: opens one shard image with the real engine and serves its points.

holdfast starts one such process for each image it reads points from.  What the two say to each
other is in docs/design/engine-protocol.md.
"""

PROTOCOL = 1
"""The version of the line protocol; both sides must speak the same."""
