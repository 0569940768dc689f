"""Answers of several shards as one."""

from holdfast_sandbox.merge import fuse, merge_facets, merge_hits, merge_scroll


def _page(*ids):
    return {"points": [{"id": i} for i in ids]}


def test_scroll_is_in_id_order_integers_first_each_id_once():
    pages = [_page(3, 9, "b"), _page(1, 3, "a")]
    merged = merge_scroll(pages, 4)
    assert [p["id"] for p in merged["points"]] == [1, 3, 9, "a"]
    assert merged["next_page_offset"] == "b"
    assert merge_scroll(pages, 5)["next_page_offset"] is None


def test_ordered_scroll_has_no_next_page():
    pages = [{"points": [{"id": 1, "order_value": 5}]}, {"points": [{"id": 2, "order_value": 7}]}]
    merged = merge_scroll(pages, 1, {"key": "k", "direction": "desc"})
    assert [p["id"] for p in merged["points"]] == [2]
    assert merged["next_page_offset"] is None


def test_facets_add_up_and_keep_booleans_apart_from_numbers():
    pages = [[{"value": 1, "count": 2}, {"value": True, "count": 9}], [{"value": 1, "count": 3}]]
    assert merge_facets(pages, 10) == [{"value": True, "count": 9}, {"value": 1, "count": 5}]


def _hit(point, score, version=0):
    return {"id": point, "version": version, "score": score}


def test_hits_are_best_first_by_the_direction_of_the_distance():
    pages = [[_hit(1, 0.5), _hit(2, 0.9)], [_hit(3, 0.7)]]
    assert [h["id"] for h in merge_hits(pages, [1], True)] == [2, 3, 1]
    assert [h["id"] for h in merge_hits(pages, [1], False)] == [1, 3, 2]


def test_of_two_hits_with_one_id_the_newer_counts():
    pages = [[_hit(1, 0.9, version=3)], [_hit(1, 0.1, version=5)]]
    assert merge_hits(pages, [1], True) == [_hit(1, 0.1, version=5)]


def test_reciprocal_rank_fusion_is_the_servers_formula():
    """1 / ((position + 1) / weight + k - 1), lib/segment/src/common/reciprocal_rank_fusion.rs."""
    lists = [[_hit(1, 9.0), _hit(2, 8.0)], [_hit(2, 0.3), _hit(3, 0.2)]]
    fused = fuse(lists, {"kind": "rrf", "k": 2})
    assert [(h["id"], round(h["score"], 6)) for h in fused] == [
        (2, round(1 / 3 + 1 / 2, 6)),
        (1, 0.5),
        (3, round(1 / 3, 6)),
    ]
    weighted = fuse(lists, {"kind": "rrf", "k": 2, "weights": [3.0, 1.0]})
    assert weighted[0]["id"] == 2
    assert round(weighted[1]["score"], 6) == round(1 / (1 / 3 + 1), 6)


def test_distribution_fusion_puts_the_mean_in_the_middle():
    fused = fuse([[_hit(1, 3.0), _hit(2, 2.0), _hit(3, 1.0)]], {"kind": "dbsf"})
    assert [(h["id"], round(h["score"], 6)) for h in fused] == [
        (1, 0.666667),
        (2, 0.5),
        (3, 0.333333),
    ]
    assert fuse([[_hit(1, 3.0)]], {"kind": "dbsf"})[0]["score"] == 0.5
