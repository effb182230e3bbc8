"""Which comparator is for which output: by its name, else by its first bytes.

`compare_contents` is the one way in, for files and, from the comparators of archives, for members.
"""

from __future__ import annotations

from collections.abc import Iterator
from fnmatch import fnmatchcase
from importlib import import_module

from msgspec.structs import replace

from reprorun.compare import bytes as raw
from reprorun.compare.content import head
from reprorun.compare.values import Comparator, Content, Finding, Settings, Unreadable

HEAD = 1 << 13  # bytes that the format is told by

_NAMES: tuple[tuple[str, tuple[str, ...]], ...] = (  # globs of the last part, in lower case
    ("*events.out.tfevents*", ("tensorboard",)),
    *((f"*.{ending}", ("text",)) for ending in ("txt", "log", "out", "err", "md", "py")),
    ("*.npy", ("npy",)),
    ("*.csv", ("table", "text")),
    ("*.tsv", ("table", "text")),
    ("*.json", ("json_values", "text")),
    ("*.jsonl", ("json_values", "text")),
    ("*.ndjson", ("json_values", "text")),
    ("*.ipynb", ("notebook", "json_values", "text")),
    ("*.pkl", ("pickles", "torch_files")),
    ("*.pickle", ("pickles", "torch_files")),
    ("*.pt", ("torch_files", "archives", "pickles")),
    ("*.pth", ("torch_files", "archives", "pickles")),
    ("*.ckpt", ("torch_files", "archives", "pickles")),
    ("*.safetensors", ("safetensors",)),
    ("*.h5", ("hdf5",)),
    ("*.hdf5", ("hdf5",)),
    ("*.he5", ("hdf5",)),
    ("*.nc", ("hdf5",)),
    ("*.parquet", ("columnar",)),
    ("*.pq", ("columnar",)),
    ("*.arrow", ("columnar",)),
    ("*.arrows", ("columnar",)),
    ("*.feather", ("columnar",)),
    *((f"*.{ending}", ("images",)) for ending in (
        "png", "jpg", "jpeg", "gif", "bmp", "tif", "tiff", "webp", "ppm", "pgm", "pbm", "pnm",
    )),
    *((f"*.{ending}", ("archives",)) for ending in (
        "zip", "npz", "whl", "tar", "tgz", "txz", "tbz", "tbz2", "gz", "xz", "bz2",
    )),
    *((f"*.{ending}", ("sqlite",)) for ending in ("sqlite", "sqlite3", "db", "db3")),
)  # fmt: skip

_MAGIC: tuple[tuple[int, bytes, tuple[str, ...]], ...] = (
    (0, b"\x93NUMPY", ("npy",)),
    (0, b"\x89HDF\r\n\x1a\n", ("hdf5",)),
    (0, b"PAR1", ("columnar",)),
    (0, b"ARROW1", ("columnar",)),
    (0, b"SQLite format 3\0", ("sqlite",)),
    (0, b"\x89PNG\r\n\x1a\n", ("images",)),
    (0, b"\xff\xd8\xff", ("images",)),
    (0, b"GIF8", ("images",)),
    (0, b"II*\0", ("images",)),
    (0, b"MM\0*", ("images",)),
    (8, b"WEBP", ("images",)),
    (0, b"PK\x03\x04", ("torch_files", "archives")),
    (0, b"PK\x05\x06", ("archives",)),
    (0, b"\x1f\x8b", ("archives",)),
    (0, b"\xfd7zXZ\0", ("archives",)),
    (0, b"BZh", ("archives",)),
    (257, b"ustar", ("archives",)),
    *((0, bytes((0x80, protocol)), ("pickles", "torch_files")) for protocol in range(2, 6)),
)


def compare_contents(a: Content, b: Content, settings: Settings) -> Finding:
    """Compare two outputs: their bytes first, and where those differ, what they mean.

    Args:
        a: the original; tolerances are looked up by its name.
        b: the new one.
        settings: how strictly.

    Returns:
        What is said of them. What can't be read as its format is decided by its bytes, and the
        reason says so.
    """
    try:
        difference = raw.first_difference(a, b)
        if difference is None:
            return Finding(verdict="identical", comparator="bytes")
        return _by_format(a, b, settings, raw.finding(a, b, difference))
    except OSError as error:
        return Finding(
            verdict="unknown",
            comparator="bytes",
            reason=f"it can't be read: {error.strerror or error}",
        )


def compare_member(a: Content, b: Content, settings: Settings) -> Finding:
    """The same for members of an archive: one step deeper. Beyond the depth their bytes decide."""
    return compare_contents(a, b, replace(settings, depth=settings.depth - 1))


def _by_format(a: Content, b: Content, settings: Settings, by_bytes: Finding) -> Finding:
    """What the first comparator says that can read both."""
    refusals: list[str] = []
    for name in comparators_of(a, b):
        if name == "archives" and settings.depth < 1:
            refusals.append("archives in archives are not opened any deeper")
            continue
        try:
            found = load(name)(a, b, settings)
        except Unreadable as error:
            refusals.append(str(error))
        except (MemoryError, RecursionError):
            refusals.append(f"it is too large or too deeply nested for {name}")
        else:
            return replace(found, notes=(*found.notes, *refusals)) if refusals else found
    if not refusals:
        return by_bytes
    reason = f"{by_bytes.reason}; {refusals[0]}, so its bytes decide"
    return replace(by_bytes, reason=reason, notes=(*by_bytes.notes, *refusals[1:]))


def load(name: str) -> Comparator:
    """The comparator of that name; its module is imported now."""
    found: Comparator = import_module(f"reprorun.compare.{name}").compare
    return found


def comparators_of(a: Content, b: Content) -> Iterator[str]:
    """The comparators to try, in order: by the names, the first bytes, and whether it is text."""
    by_name = _by_name(a.name) or _by_name(b.name)
    tried = by_name
    yield from by_name
    starts = head(a, HEAD), head(b, HEAD)
    magic = _by_magic(starts[0])
    if magic == _by_magic(starts[1]):
        yield from (name for name in magic if name not in tried)
        tried += magic
    if not tried and all(map(looks_like_text, starts)):
        yield "text"


def _by_name(name: str) -> tuple[str, ...]:
    last = name.rpartition("/")[2].lower()
    return next((found for glob, found in _NAMES if fnmatchcase(last, glob)), ())


def _by_magic(start: bytes) -> tuple[str, ...]:
    found = (names for offset, magic, names in _MAGIC if start.startswith(magic, offset))
    return next(found, ())


def looks_like_text(start: bytes) -> bool:
    """Whether the first bytes of a file are UTF-8 without control characters but white space."""
    if any(byte < 32 and byte not in b"\t\n\r\f\v\b\x1b" for byte in start):
        return False
    try:
        start.decode()
    except UnicodeDecodeError as error:
        return len(start) == HEAD and error.start > HEAD - 4  # a letter that is cut
    return True
