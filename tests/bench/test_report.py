"""The table of the benchmarks: which floor counts, and when a bound is missed."""

from holdfast_bench.report import Row, floor_row, table, timed


def test_the_larger_floor_is_the_one_compared_with():
    row = timed("b", "backup", [2.0, 2.0], {"small": [0.1, 0.1], "large": [2.0, 2.0]}, bound=1.25)
    assert row.floor == "large"
    assert row.ratio == 1.0
    assert not row.missed


def test_ratios_are_taken_within_a_repetition():
    # The second repetition ran on a machine half as fast; the ratio is the same.
    row = timed("b", "backup", [2.0, 4.0], {"floor": [1.0, 2.0]}, bound=1.5)
    assert row.samples == [2.0, 2.0]
    assert row.ratio == 2.0
    assert row.missed


def test_a_row_without_bound_is_never_missed():
    row = timed("b", "restore", [9.0], {"floor": [1.0]})
    assert not row.missed
    assert row.as_json()["missed"] is False


def test_the_table_shows_ratio_bound_and_what_was_missed():
    rows = [
        floor_row("b", "zstd", [1.0]),
        Row("b", "stored again", 3.0, "MB", "stored", 100.0, 0.03, 0.02),
        timed("b", "backup", [1.0, 1.5, 1.1], {"zstd": [1.0, 1.0, 1.0]}, bound=1.25, rss_mib=144),
    ]
    lines = table(rows).splitlines()
    assert lines[1].endswith("floor")
    assert "0.030" in lines[2] and "<= 0.02" in lines[2] and "MISSED" in lines[2]
    assert "1.100 (1.00-1.50)" in lines[3] and "144 MiB" in lines[3] and "MISSED" not in lines[3]
