"""Images as engines save them, of every version, and as all of them load them."""

from __future__ import annotations

import gzip
import io
import json
import os
import tarfile
from collections.abc import Iterator

import pytest

from reprorun.engine.images import describe, read_saved, write_loadable
from reprorun.errors import EngineError

from .packs import LAYERS, a_tar, diff_id, settings

CONFIG = settings(*LAYERS, env=("A=1",))
LARGE = a_tar(large=os.urandom(9 << 20))


def saved(*members: tuple[str, bytes | str]) -> list[bytes]:
    """The stream of an engine; text is where a link leads."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for name, data in members:
            member = tarfile.TarInfo(name)
            if isinstance(data, str):
                member.type, member.linkname = tarfile.SYMTYPE, data
                tar.addfile(member)
            else:
                member.size = len(data)
                tar.addfile(member, io.BytesIO(data))
    data = buffer.getvalue()
    return [data[at : at + 100_001] for at in range(0, len(data), 100_001)]


def manifest(config: str, *layers: str) -> bytes:
    return json.dumps([{"Config": config, "RepoTags": None, "Layers": layers}]).encode()


def read(pieces: list[bytes]) -> tuple[bytes, list[bytes]]:
    config, layers = read_saved(pieces, b"".join)
    return config, list(layers)


def refusal(pieces: list[bytes]) -> str:
    with pytest.raises(EngineError, match="saves the image in a way that can't be read") as caught:
        read(pieces)
    return str(caught.value)


def test_as_old_engines_save_it() -> None:
    pieces = saved(
        ("aa/VERSION", b"1.0"),
        ("aa/json", b'{"id": "aa"}'),
        ("aa/layer.tar", LAYERS[0]),
        ("bb/layer.tar", LARGE),
        ("cc/layer.tar", "../aa/layer.tar"),
        ("12.json", CONFIG),
        ("manifest.json", manifest("12.json", "aa/layer.tar", "bb/layer.tar", "cc/layer.tar")),
        ("repositories", b"{}"),
    )
    assert read(pieces) == (CONFIG, [LAYERS[0], LARGE, LAYERS[0]])


def test_as_new_engines_save_it() -> None:
    pieces = saved(
        ("blobs/sha256/aa", gzip.compress(LARGE)),
        ("blobs/sha256/bb", gzip.compress(LAYERS[0][:900]) + gzip.compress(LAYERS[0][900:])),
        ("blobs/sha256/cc", LAYERS[1]),
        ("blobs/sha256/12", CONFIG),
        ("index.json", b'{"schemaVersion": 2}'),
        (
            "manifest.json",
            manifest("blobs/sha256/12", *(f"blobs/sha256/{name}" for name in ("bb", "aa", "cc"))),
        ),
        ("oci-layout", b'{"imageLayoutVersion": "1.0.0"}'),
    )
    assert read(pieces) == (CONFIG, [LAYERS[0], LARGE, LAYERS[1]])


def test_the_manifest_may_come_first() -> None:
    pieces = saved(("manifest.json", manifest("c", "l")), ("l", LAYERS[0]), ("c", CONFIG))
    assert read(pieces) == (CONFIG, [LAYERS[0]])


def test_layers_come_in_pieces() -> None:
    sizes = []

    def keep(pieces: Iterator[bytes]) -> int:
        sizes.extend(len(piece) for piece in pieces)
        return sum(sizes)

    stream = saved(("m", b"{}"), ("l", LARGE), ("c", CONFIG), ("manifest.json", manifest("c", "l")))
    assert read_saved(stream, keep) == (CONFIG, (len(LARGE),))
    assert max(sizes) <= 1 << 20


def test_what_can_not_be_read() -> None:
    whole = [("l", LAYERS[0]), ("c", CONFIG), ("manifest.json", manifest("c", "l"))]
    assert read(saved(*whole))
    assert "it has no manifest.json" in refusal(saved(*whole[:2]))
    assert "it has no c" in refusal(saved(whole[0], whole[2]))
    assert "it has no l" in refusal(saved(*whole[1:]))
    assert "it has no l" in refusal(saved(("l", "a"), ("a", "l"), *whole[1:]))
    two = json.dumps(json.loads(manifest("c", "l")) * 2).encode()
    assert "does not describe one image" in refusal(saved(*whole[:2], ("manifest.json", two)))
    assert "does not describe" in refusal(saved(*whole[:2], ("manifest.json", b'{"x": 1}')))
    zstd = b"\x28\xb5\x2f\xfd" + bytes(2000)
    assert "packed with zstd" in refusal(saved(("l", zstd), *whole[1:]))
    assert refusal(saved(("l", gzip.compress(LARGE)[:-5000]), *whole[1:]))
    assert refusal([b"".join(saved(("l", LARGE), *whole[1:]))[:5_000_000]])
    assert refusal([b"no tar" * 1000])
    assert refusal([])


class Layer:
    def __init__(self, data: bytes) -> None:
        self.data, self.size, self.diff_id = data, len(data), diff_id(data)

    def pieces(self) -> Iterator[bytes]:
        yield self.data


def test_what_is_written_is_read() -> None:
    layers = [Layer(LAYERS[0]), Layer(LARGE), Layer(LAYERS[0])]
    written = list(write_loadable(["reprorun/base:1"], CONFIG, layers))
    assert read(written) == (CONFIG, [LAYERS[0], LARGE, LAYERS[0]])
    with tarfile.open(fileobj=io.BytesIO(b"".join(written))) as tar:
        names = tar.getnames()
        last = tar.extractfile("manifest.json")
        assert last is not None
        assert json.loads(last.read())[0]["RepoTags"] == ["docker.io/reprorun/base:1"]
    assert names[-1] == "manifest.json"
    assert len(names) == 4  # a layer that is there twice is sent once


def test_settings_are_described() -> None:
    image = describe(CONFIG)
    assert (image.layers, image.env) == (tuple(map(diff_id, LAYERS)), ("A=1",))
    assert describe(b'{"rootfs": {"diff_ids": []}, "config": null}').env == ()
    for wrong in (b"", b"[]", b"{}", b'{"rootfs": {"diff_ids": [1]}}', b"[" * 100_000):
        with pytest.raises(EngineError, match="no settings of an image"):
            describe(wrong)
