"""Folders of runs: gone at the end, and taken away later when a run was killed."""

from holdfast_bench.scratch import remove_leftovers, scratch_folder


def test_the_folder_is_removed_with_what_is_in_it(tmp_path):
    with scratch_folder(tmp_path) as folder:
        (folder / "repository").mkdir()
        (folder / "repository/pack").write_bytes(b"x")
    assert not list(tmp_path.iterdir())


def test_what_a_killed_run_left_is_removed_and_what_is_in_use_stays(tmp_path):
    left = tmp_path / "holdfast-bench.left"
    left.mkdir()
    (left / "lock").touch()
    other = tmp_path / "somebody-elses"
    other.mkdir()
    with scratch_folder(tmp_path) as mine:
        assert not left.exists()
        remove_leftovers(tmp_path)
        assert mine.exists()
    assert other.exists()
