"""What engines are sent: images as `docker load` takes them, and build contexts."""

from __future__ import annotations

import hashlib
import io
import json
import os
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import pytest

from reprorun.engine.archive import CREATED, write_archive
from reprorun.engine.context import write_context, write_files
from reprorun.engine.references import familiar, in_full
from reprorun.environment.layers import DamagedLayer, PlainLayer
from reprorun.environment.tar import file
from reprorun.errors import UsageError
from reprorun.model import ImageSpec

PARENT: dict[str, Any] = {
    "Architecture": "arm64",
    "Variant": "v8",
    "Os": "linux",
    "Config": {
        "Env": ["PATH=/bin", "LANG=C", "EMPTY=", "EQUALS=a=b"],
        "Cmd": ["python3"],
        "Entrypoint": ["/entry"],
        "WorkingDir": "/work",
        "User": "nobody",
        "Labels": {"theirs": "1", "reprorun": "old"},
        "Volumes": {"/data": {}},
        "OnBuild": ["RUN evil"],
        "Healthcheck": {"Test": ["CMD", "x"]},
        "StopSignal": "SIGKILL",
        "ExposedPorts": {"80/tcp": {}},
        "Shell": ["/bin/zsh"],
    },
}
BELOW = ("sha256:" + "1" * 64, "sha256:" + "2" * 64)


def layer(name: str, data: bytes = b"x") -> PlainLayer:
    return PlainLayer(f"holds {name}", [file(name, data)])


def spec(**fields: Any) -> ImageSpec:
    return ImageSpec(**{"tag": "a:1", "parent": "sha256:p", "dockerfile": str, **fields})


def archive(
    *layers: Any, parent: dict[str, Any] = PARENT, below: tuple[str, ...] = BELOW, **fields: Any
) -> bytes:
    tags = fields.pop("tags", ["a:1"])
    pieces = write_archive(spec(**fields), tags, parent, layers, below, lambda digests: None)
    return b"".join(pieces)


def unpacked(data: bytes) -> dict[str, bytes]:
    found = {}
    with tarfile.open(fileobj=io.BytesIO(data)) as tar:
        for member in tar:
            content = tar.extractfile(member)
            assert content is not None
            found[member.name] = content.read()
    return found


def config(data: bytes) -> dict[str, Any]:
    found = unpacked(data)
    (manifest,) = json.loads(found["manifest.json"])
    text = found[manifest["Config"]]
    assert manifest["Config"] == f"{hashlib.sha256(text).hexdigest()}.json"
    parsed: dict[str, Any] = json.loads(text)
    return parsed


# ---------------------------------------------------------------- images


def test_only_layers_that_are_missing_are_sent() -> None:
    one, two = layer("one"), layer("two")
    data = archive(one, two)
    found = unpacked(data)
    (manifest,) = json.loads(found["manifest.json"])
    assert manifest["RepoTags"] == ["a:1"]
    assert manifest["Layers"] == ["absent.tar", "absent.tar", "layer-0.tar", "layer-1.tar"]
    assert set(found) == {"layer-0.tar", "layer-1.tar", "manifest.json", manifest["Config"]}
    assert found["layer-0.tar"] == b"".join(one.pieces())
    assert config(data)["rootfs"] == {
        "type": "layers", "diff_ids": [*BELOW, one.diff_id, two.diff_id],
    }  # fmt: skip


def test_what_was_kept_is_not_hashed_again(monkeypatch: pytest.MonkeyPatch) -> None:
    kept, new = layer("kept"), layer("new")
    said = "sha256:" + "7" * 64
    kept.is_kept, kept.diff_id = True, said
    told: list[str] = []
    monkeypatch.setattr(kept, "made", told.append)
    data = archive(kept, new)
    assert config(data)["rootfs"]["diff_ids"] == [*BELOW, said, new.diff_id]
    assert unpacked(data)["layer-0.tar"] == b"".join(kept.pieces())
    assert told == []


def test_settings_without_a_layer() -> None:
    data = archive()
    assert config(data)["rootfs"]["diff_ids"] == list(BELOW)
    assert len(config(data)["history"]) == 2


def test_an_image_without_a_name() -> None:
    (manifest,) = json.loads(unpacked(archive(tags=[]))["manifest.json"])
    assert manifest["RepoTags"] == []


def test_the_parents_settings_with_ours() -> None:
    found = config(archive(env={"LANG": "C.UTF-8", "NEW": "x=y"}, labels={"reprorun": "new"}))
    assert (found["architecture"], found["variant"], found["os"]) == ("arm64", "v8", "linux")
    settings = found["config"]
    assert settings["Env"] == ["PATH=/bin", "LANG=C.UTF-8", "EMPTY=", "EQUALS=a=b", "NEW=x=y"]
    assert settings["Labels"] == {"theirs": "1", "reprorun": "new"}
    assert settings["WorkingDir"] == "/work"
    assert settings["Entrypoint"] == ["/entry"]
    assert settings["Cmd"] == ["python3"]


def test_ours_take_the_place_of_the_parents() -> None:
    settings = config(archive(workdir="/w", entrypoint=("python", "x")))["config"]
    assert settings["WorkingDir"] == "/w"
    assert settings["Entrypoint"] == ["python", "x"]
    assert "Cmd" not in settings


def test_what_the_parent_would_do_by_itself_is_not_taken_over() -> None:
    settings = config(archive())["config"]
    assert set(settings) == {"Env", "WorkingDir", "Entrypoint", "Cmd", "Labels"}


@pytest.mark.parametrize("empty", [None, {}, {"Env": None, "Labels": None, "Cmd": None}])
def test_a_parent_that_says_nothing(empty: Any) -> None:
    parent = {"Architecture": "amd64", "Os": "linux", "Config": empty}
    found = config(archive(parent=parent, env={"A": "1"}))
    assert found["config"] == {"Env": ["A=1"], "Labels": {}}
    assert "variant" not in found


def test_the_same_bytes_whenever_it_is_made() -> None:
    assert archive(layer("one"), env={"A": "1"}) == archive(layer("one"), env={"A": "1"})
    found = config(archive(layer("one")))
    assert found["created"] == CREATED
    assert {entry["created"] for entry in found["history"]} == {CREATED}
    assert len(found["history"]) == len(found["rootfs"]["diff_ids"])


def test_digests_are_told_before_the_last_piece() -> None:
    told: list[list[str]] = []
    one = layer("one")
    pieces = write_archive(spec(), ["a:1"], PARENT, [one], BELOW, told.append)
    before_end = [bool(told) for _ in pieces]
    assert told == [[*BELOW, one.diff_id]]
    assert before_end[-1]
    assert not before_end[0]


class Lying:
    """A layer that says another size than it has."""

    title, diff_id, is_kept, size = "lies", None, False, 10_000

    def pieces(self) -> Iterator[bytes]:
        yield b"short"

    def made(self, diff_id: str) -> None:
        """Nothing."""


def test_a_layer_of_another_size_than_it_says_makes_no_image() -> None:
    with pytest.raises(Exception):  # noqa: B017, PT011
        unpacked(archive(Lying()))


# ---------------------------------------------------------------- contexts


def test_a_context_with_layers() -> None:
    one, two = layer("one"), layer("two", b"y" * 700)
    found = unpacked(b"".join(write_context("FROM x\n", [one, two])))
    assert list(found) == ["Dockerfile", "layer-01.tar", "layer-02.tar"]
    assert found["Dockerfile"] == b"FROM x\n"
    assert found["layer-02.tar"] == b"".join(two.pieces())


def test_a_context_with_a_layer_that_is_damaged_does_not_come_to_its_end(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    told: list[str] = []
    good, bad = layer("good"), layer("bad")
    monkeypatch.setattr(good, "made", told.append)
    monkeypatch.setattr(bad, "made", Mock(side_effect=DamagedLayer("bad")))
    with pytest.raises(DamagedLayer):
        list(write_context("FROM x\n", [good, bad]))
    assert told == [good.diff_id]


def context(root: Path, *names: str, dockerfile: str = "FROM x\n") -> bytes:
    return b"".join(write_files(str(root), names, dockerfile))


def test_a_context_of_files(tmp_path: Path) -> None:
    (tmp_path / "a b").write_bytes(b"1" * 600)
    (tmp_path / "run.sh").write_text("x")
    (tmp_path / "run.sh").chmod(0o700)
    (tmp_path / "link").symlink_to("nowhere")
    (tmp_path / ("n" * 200)).write_text("long")
    odd = os.fsdecode(b"caf\xe9")
    (tmp_path / odd).write_text("odd")
    data = context(tmp_path, "a b", "run.sh", "link", "n" * 200, odd)
    with tarfile.open(fileobj=io.BytesIO(data)) as tar:
        members = {member.name: member for member in tar}
        assert tar.extractfile("a b").read() == b"1" * 600  # type: ignore[union-attr]
    assert (members["run.sh"].mode, members["a b"].mode) == (0o755, 0o644)
    assert members["link"].linkname == "nowhere"
    assert set(members) == {"a b", "run.sh", "link", "n" * 200, odd, "Dockerfile"}
    assert {member.mtime for member in members.values()} == {315532800}
    assert {(member.uid, member.gid) for member in members.values()} == {(0, 0)}


def test_our_dockerfile_takes_the_place_of_the_projects(tmp_path: Path) -> None:
    (tmp_path / "Dockerfile").write_text("FROM theirs\n")
    found = unpacked(context(tmp_path, "Dockerfile", dockerfile="FROM ours\n"))
    assert found["Dockerfile"] == b"FROM ours\n"


def test_the_same_files_make_the_same_context(tmp_path: Path) -> None:
    (tmp_path / "x").write_text("1")
    first = context(tmp_path, "x")
    os.utime(tmp_path / "x", (1, 1))
    (tmp_path / "x").chmod(0o600)
    assert context(tmp_path, "x") == first


def test_no_files() -> None:
    assert list(unpacked(b"".join(write_files(None, [], "FROM x\n")))) == ["Dockerfile"]


def test_a_file_that_changes_while_it_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "x").write_text("1")
    fstat = os.fstat

    def growing(descriptor: int) -> os.stat_result:
        found = fstat(descriptor)
        (tmp_path / "x").write_text("12345")
        return found

    monkeypatch.setattr("os.fstat", growing)
    with pytest.raises(UsageError, match="x changed while it was read"):
        context(tmp_path, "x")


def test_a_file_that_is_gone(tmp_path: Path) -> None:
    with pytest.raises((UsageError, FileNotFoundError)):
        context(tmp_path, "gone")


# ---------------------------------------------------------------- the form of OCI


def oci(*layers: Any, tags: tuple[str, ...] = ("a:1",)) -> dict[str, bytes]:
    pieces = write_archive(spec(), tags, PARENT, layers, BELOW, lambda digests: None, "oci")
    return unpacked(b"".join(pieces))


def test_an_oci_layout_has_the_same_settings_and_links_to_the_layers() -> None:
    found = oci(layer("x"), layer("y"))
    (named,) = json.loads(found["index.json"])["manifests"]
    assert named["annotations"] == {"org.opencontainers.image.ref.name": "docker.io/library/a:1"}
    manifest = json.loads(blob(found, named))
    settings = blob(found, manifest["config"])
    assert json.loads(settings) == config(archive(layer("x"), layer("y")))
    digests = [entry["digest"] for entry in manifest["layers"]]
    assert tuple(digests[:2]) == BELOW
    assert digests == json.loads(settings)["rootfs"]["diff_ids"]
    for entry, one in zip(manifest["layers"][2:], (layer("x"), layer("y")), strict=True):
        assert blob(found, entry) == b"".join(one.pieces())
    assert not any(digest.replace(":", "/") in name for digest in BELOW for name in found)


def test_an_oci_layout_without_a_name() -> None:
    (named,) = json.loads(oci(layer("x"), tags=())["index.json"])["manifests"]
    assert "annotations" not in named


def blob(found: dict[str, bytes], entry: dict[str, Any]) -> bytes:
    data = found["blobs/" + entry["digest"].replace(":", "/")]
    assert entry["digest"] == f"sha256:{hashlib.sha256(data).hexdigest()}"
    assert entry["size"] == len(data)
    return data


@pytest.mark.parametrize(
    ("short", "full"),
    [
        ("a:1", "docker.io/library/a:1"),
        ("a/b:1", "docker.io/a/b:1"),
        ("docker.io/a/b:1", "docker.io/a/b:1"),
        ("localhost/a:1", "localhost/a:1"),
        ("host:5000/a/b@sha256:0", "host:5000/a/b@sha256:0"),
    ],
)
def test_names_in_full(short: str, full: str) -> None:
    assert in_full(short) == full
    assert familiar(full) == short.removeprefix("docker.io/")
