"""The benchmarks of holdfast: ratios to floors that are measured in the same run."""
