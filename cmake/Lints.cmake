# The lints are tests, so that they cannot be forgotten.
