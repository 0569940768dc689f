"""The embedded Qdrant-compatible cluster of holdfast.

One process a node, shards held by `qdrant_edge`, the cluster around them in Python.  It exists for
demos and tests: what it answers follows the recorded transcripts, the measured facts and the
reference of the real server 1.18.3; the source of each rule stands beside the code.
"""

VERSION = "1.18.3"
COMMIT = "db8fa43fcb6aedec1e739487e17a99731b74590a"
