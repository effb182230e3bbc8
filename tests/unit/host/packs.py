"""Packs for tests: small ones, and ones that are wrong on purpose."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import tarfile
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from reprorun import store
from reprorun.errors import RecordError
from reprorun.model import BaseImage, InputFile, Record, RemoteFile, SchemaMark
from reprorun.pack.contents import record_files
from reprorun.pack.filling import add_files, add_inputs, add_wheels
from reprorun.pack.format import SCHEMA, Index, StoredImage
from reprorun.pack.reading import Pack
from reprorun.pack.writing import writing

from ...packages import make_wheel
from . import values

Edit = Callable[[dict[str, Any]], None]
WHEEL, WHEEL_CONTENT = make_wheel("six", "1.0")
REF = "python:3.11-slim"
ENV = ("PATH=/bin",)


def a_tar(**files: bytes) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for name, data in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(data)
            tar.addfile(member, io.BytesIO(data))
    return buffer.getvalue()


LAYERS = (a_tar(one=b"1" * 5000), a_tar(two=b"2"))


def diff_id(layer: bytes) -> str:
    return f"sha256:{hashlib.sha256(layer).hexdigest()}"


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def settings(*layers: bytes, env: tuple[str, ...] = ENV) -> bytes:
    told = {
        "architecture": "amd64",
        "os": "linux",
        "config": {"Env": env},
        "rootfs": {"type": "layers", "diff_ids": [diff_id(layer) for layer in layers]},
    }
    return json.dumps(told).encode()


def base_digest(*layers: bytes, env: tuple[str, ...] = ENV) -> str:
    from reprorun.engine.images import describe
    from reprorun.workflow.base import image_digest

    return image_digest(describe(settings(*layers, env=env)))


def base(**fields: Any) -> BaseImage:
    given = {"ref": REF, "id": "sha256:" + "1" * 64, "digest": base_digest(*LAYERS), **fields}
    return BaseImage(**given)


def make_log_dir(place: Path, record: Record | None = None, **files: bytes) -> Path:
    """A log directory that holds a record, and files."""
    place.mkdir(parents=True)
    store.write_record(str(place), record or values.record(base_image=base()))
    for name, data in files.items():
        (place / name).write_bytes(data)
    return place


def make_input(path: Path, target: str, content: bytes | Mapping[str, bytes]) -> InputFile:
    """An input: a file, or a directory of files."""
    from reprorun.probe.inputs import describe_input

    path.parent.mkdir(parents=True, exist_ok=True)
    if isinstance(content, bytes):
        path.write_bytes(content)
    else:
        for name, data in content.items():
            (path / name).parent.mkdir(parents=True, exist_ok=True)
            (path / name).write_bytes(data)
    return describe_input(str(path), target)


def write_pack(
    path: Path, log_dir: Path, *inputs: InputFile, image: BaseImage | None = None
) -> Index:
    """A pack of a log directory, with one wheel, two layers and inputs."""
    wheel_path = path.with_suffix(".whl")
    wheel_path.write_bytes(WHEEL_CONTENT)
    wheel = RemoteFile(name=WHEEL, sha256=sha256(WHEEL_CONTENT), size=len(WHEEL_CONTENT))
    given = image or base()
    found, left_out = record_files(str(log_dir))
    with writing(str(path)) as writer:
        index = Index(
            pack=SchemaMark(schema=SCHEMA, version="1.2.3"),
            name=log_dir.name,
            record=add_files(found, "record", writer),
            left_out=left_out,
            wheels=add_wheels([wheel], {wheel.sha256: str(wheel_path)}, writer),
            image=StoredImage(
                ref=given.ref,
                id=given.id,
                digest=given.digest,
                settings=writer.add_bytes("image/settings.json", settings(*LAYERS)),
                layers=tuple(
                    writer.add_layer(f"image/layer-{number}.tar.gz", [layer[:700], layer[700:]])
                    for number, layer in enumerate(LAYERS, 1)
                ),
            ),
            inputs=add_inputs(inputs, writer, print),
        )
        writer.finish(index)
    wheel_path.unlink()
    return index


def small_pack(tmp_path: Path) -> Path:
    """A pack with a bit of everything."""
    log_dir = make_log_dir(tmp_path / "made/train", **{"result.txt": b"42\n", "empty": b""})
    one = make_input(tmp_path / "data.bin", "/data.bin", b"data" * 1000)
    many = make_input(tmp_path / "data", "/data", {"a/x.txt": b"x", "b.txt": b"42\n"})
    path = tmp_path / "run.rrpack"
    write_pack(path, log_dir, one, many)
    return path


# ---------------------------------------------------------------- wrong on purpose


def entries(path: Path) -> dict[str, bytes]:
    with zipfile.ZipFile(path) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def rewritten(path: Path, edit: Edit | None = None, /, **changed: bytes | None) -> Path:
    """The pack with another index, and entries that are changed, or None: gone."""
    content: dict[str, bytes | None] = {**entries(path), **changed}
    if edit:
        index = json.loads(content["pack.json"] or b"")
        edit(index)
        content["pack.json"] = json.dumps(index).encode()
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in content.items():
            if data is not None:
                archive.writestr(name, data)
    return path


def swap(path: Path, name: str, data: bytes) -> Path:
    """The pack with other content under the name of an entry."""
    return rewritten(path, None, **{name: data})


def read_all(path: Path, place: Path) -> dict[str, bytes]:
    """All that is in a pack, read as it is when it is used."""
    with Pack.open(str(path)) as pack:
        index = pack.index
        pack.unpack(index.record, str(place))
        found = {f"record/{file.path}": (place / file.path).read_bytes() for file in index.record}
        found["settings"] = pack.settings()
        for wheel in index.wheels:
            found[wheel.name] = b"".join(pack.pieces(wheel))
        for number, layer in enumerate(index.image.layers):
            found[f"layer {number}"] = b"".join(pack.layer(layer))
        for each in index.inputs:
            for file in each.files:
                found[f"{each.target}/{file.path}"] = b"".join(pack.pieces(file))
            if each.file:
                found[each.target] = b"".join(pack.pieces(each.file))
        return found


def refusal(path: Path, place: Path) -> str:
    """What is said of a pack that is not right; nothing of it may stay elsewhere."""
    with pytest.raises(RecordError) as caught:
        read_all(path, place)
    assert len(str(caught.value).splitlines()) <= 2
    return str(caught.value)


def packed(data: bytes) -> bytes:
    return gzip.compress(data)
