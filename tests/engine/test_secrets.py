"""Secrets are planted wherever a user has them, and then everything that is kept is searched.

Each plant says where it came from, so that a leak names its source.
"""

from __future__ import annotations

import base64
import gzip
import io
import lzma
import re
import tarfile
import uuid
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from ..index import Index, make_wheel
from .bench import Bench, Done, client, one_message

PLANT = "Zq7planted"
_LEAK = re.compile(PLANT.encode() + rb"[A-Za-z0-9]*")
_LOGIN = b"user:" + PLANT.encode()  # as basic authentication has it
_ENCODED = base64.b64encode(_LOGIN)[: len(_LOGIN) // 3 * 4]

TRAIN = """\
import os, sys, tool
for name in ("API_TOKEN", "DB_PASSWORD", "PASSED", "ADDRESS"):
    assert os.environ[name].startswith("Zq7" + "planted") or "@" in os.environ[name], name
for name in ("file", "variable"):
    with open("/run/secrets/" + name) as file:
        assert file.read() == "Zq7" + "planted" + name.title()
    try:
        open("/run/secrets/" + name, "w")
    except OSError as error:
        assert type(error).__name__ in ("OSError", "PermissionError"), error
    else:
        raise SystemExit("it can be written to")
with open("result.txt", "w") as file:
    file.write(tool.VERSION)
"""


def plant(where: str) -> str:
    """A secret that says where it was planted."""
    return PLANT + where


class Planted(NamedTuple):
    """A bench with secrets all over, and the flags that give them to a run."""

    bench: Bench
    flags: tuple[str, ...]

    def leaks(self, *texts: str | bytes) -> list[str]:
        """What is found in texts, in all that our commands keep, and in the images."""
        bench = self.bench
        found = [leak for text in texts for leak in leaks_in(as_bytes(text), "a text")]
        caches = [Path(bench.env[name]) for name in ("XDG_CACHE_HOME", "XDG_STATE_HOME")]
        for place in (bench.records, bench.root / "data", *caches, bench.records.parent / "made"):
            for path in place.rglob("*"):
                if path.is_file() and not path.is_symlink():
                    found += leaks_in(path.read_bytes(), str(path.relative_to(place.parent)))
        return found


def as_bytes(text: str | bytes) -> bytes:
    return text if isinstance(text, bytes) else text.encode(errors="surrogateescape")


def leaks_in(data: bytes, where: str) -> list[str]:
    """Every planted secret in data, packed or not."""
    found = [f"{where}: {leak.decode()}" for leak in set(_LEAK.findall(data))]
    found += [f"{where}: a login, encoded"] * (_ENCODED in data)
    for name, part in _unpacked(data):
        found += leaks_in(part, f"{where}/{name}")
    return found


def _unpacked(data: bytes) -> Iterator[tuple[str, bytes]]:
    if data.startswith(b"\xfd7zXZ\0"):
        yield "xz", lzma.decompress(data)
    elif data.startswith(b"\x1f\x8b"):
        yield "gz", gzip.decompress(data)
    elif data.startswith(b"PK\3\4"):
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            for name in archive.namelist():
                yield name, archive.read(name)
    elif data[257:262] == b"ustar" and len(data) < 64 << 20:  # what is in it is in it as it is,
        with tarfile.open(fileobj=io.BytesIO(data)) as archive:  # unless it is packed itself
            for member in archive:
                if member.isreg() and member.name.endswith((".xz", ".gz", ".zip", ".whl")):
                    file = archive.extractfile(member)
                    assert file
                    yield member.name, file.read()


def test_the_search_finds_what_is_there(tmp_path: Path) -> None:
    inner = io.BytesIO()
    with zipfile.ZipFile(inner, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a.txt", "x" * 1000 + plant("Zip"))
    outer = io.BytesIO()
    with tarfile.open(fileobj=outer, mode="w") as tar:
        info = tarfile.TarInfo("b.zip")
        info.size = len(inner.getvalue())
        tar.addfile(info, io.BytesIO(inner.getvalue()))
    packed = lzma.compress(outer.getvalue())
    assert leaks_in(packed, "here") == ["here/xz/b.zip/a.txt: Zq7plantedZip"]
    assert leaks_in(base64.b64encode(f"user:{plant('Login')}".encode()), "x")


@pytest.fixture
def planted(bench: Bench, tmp_path: Path) -> Iterator[Planted]:
    """A repository, an index that wants a login, and secrets wherever users have them."""
    bench.env = {name: v for name, v in bench.env.items() if not name.startswith("UV_")}
    for name in ("XDG_CACHE_HOME", "XDG_STATE_HOME", "XDG_CONFIG_HOME", "UV_CACHE_DIR", "HOME"):
        bench.env[name] = str(tmp_path / name.lower())
        Path(bench.env[name]).mkdir()
    with Index(user="user", password=plant("Index")) as index:
        text = f"VERSION = '1.0'  # {uuid.uuid4()}\n".encode()
        index.add(*make_wheel("tool", "1.0", files={"tool.py": text}))
        bench.env.update(
            UV_DEFAULT_INDEX=index.url_with_login,
            NO_PROXY="127.0.0.1",
            no_proxy="127.0.0.1",
            API_TOKEN=plant("Token"),
            PASSED=plant("Passed"),
            OF_THE_HOST=plant("Host"),
            HELD=plant("Variable"),
        )
        (tmp_path / "file.txt").write_text(plant("File"))
        bench.write({
            "train.py": TRAIN,
            "requirements.txt": "tool\n",
            ".env": f"KEY={plant('Dotenv')}\n",
            ".gitignore": ".env\ndata/\n",
        })  # fmt: skip
        bench.commit()
        bench.git(
            "remote", "add", "origin", f"https://user:{plant('Remote')}@git.example.invalid/x"
        )
        yield Planted(
            bench,
            (
                *("-e", "API_TOKEN", "-e", f"DB_PASSWORD={plant('Given')}", "-e", "PASSED"),
                *("-e", f"ADDRESS=postgres://user:{plant('Address')}@db.example.invalid/x"),
                *("--secret", f"id=file,src={tmp_path / 'file.txt'}"),
                *("--secret", "id=variable,env=HELD"),
            ),
        )


def refused(done: Done, code: int) -> str:
    assert done.code == code, done.err
    return one_message(done.err)


def image_bytes(name: str) -> bytes:
    """An image as `docker save` has it: its settings and history, and all its layers."""
    with client() as engine:
        return b"".join(engine.images.get(name).save())


def test_no_secret_is_kept_by_a_run_or_what_follows(planted: Planted, tmp_path: Path) -> None:
    bench, flags = planted.bench, planted.flags
    made = tmp_path / "made"
    made.mkdir()
    done = bench.exec("train.py", flags=["-v", *flags])
    assert done.code == 0, done.err
    record, place = done.record, str(done.log_dir)
    assert record.secrets == ("file", "variable")
    redacted = ("API_TOKEN", "DB_PASSWORD", "PASSED", "ADDRESS")
    assert record.environment == dict.fromkeys(redacted, "<redacted>")
    assert leaks_in(image_bytes(record.image), "image") == []

    texts = [done.out, done.err]
    for words in (
        ("exec", "--dry-run", *flags, "train.py"),
        ("exec", "--dry-run", "--json", *flags, "train.py"),
        ("exec", "--json", "-v", *flags, "train.py"),
        ("rerun", "-v", "--json", *flags, place),
        ("rerun", "--dry-run", *flags, place),
        ("rerun", "--dry-run", "--json", *flags, place),
        ("check", "--vary", "timezone", "--html", f"{made}/check.html", "--keep",
         "--junit-xml", f"{made}/junit.xml", "-v", *flags, place),
        ("check", "--json", *flags, place),
        ("show", place), ("show", "--json", place), ("ls",), ("ls", "--json"),
        ("export", "--format", "ro-crate", "-o", f"{made}/crate.zip", place),
        ("export", "--format", "slsa", "-o", f"{made}/slsa.json", place),
        ("pack", "-v", "-o", f"{made}/run.rrpack", place),
        ("lock", "-v", "train.py"),
    ):  # fmt: skip
        after = bench.reprorun(*words)
        assert after.code == 0, (words, after.err)
        texts += [after.out, after.err]
    assert {path.name for path in made.iterdir()} == {
        "check.html", "junit.xml", "crate.zip", "slsa.json", "run.rrpack"
    }  # fmt: skip
    assert planted.leaks(*texts) == []


def test_no_secret_is_kept_by_a_sweep(planted: Planted, tmp_path: Path) -> None:
    bench = planted.bench
    made = tmp_path / "made"
    made.mkdir()
    bench.write({"train.py": f"import sys\nassert sys.argv[1] in '12'\n{TRAIN}"})
    words = ("sweep", *planted.flags, "-v", "--html", f"{made}/page.html", "--grid", "seed=1,2")
    swept = bench.reprorun(*words, "--json", "train.py", "--", "{seed}")
    assert swept.code == 0, swept.err
    again = bench.reprorun("sweep", "--resume", "data/local/sweep/train", "--grid", "seed=1..3")
    assert "--secret id=" in refused(again, 2) or "-e API_TOKEN" in again.err
    resumed = bench.reprorun(
        "sweep", "--resume", "data/local/sweep/train", *planted.flags, "--grid", "seed=1,2"
    )
    assert resumed.code == 0, resumed.err
    assert (bench.root / "data/local/sweep/train/sweep.csv").exists()
    texts = (swept.out, swept.err, again.out, again.err, resumed.out, resumed.err)
    assert planted.leaks(*texts) == []


@pytest.mark.parametrize("way", ["extra", "netrc", "requirements", "named"])
def test_no_login_of_an_index_is_kept(planted: Planted, way: str) -> None:
    bench = planted.bench
    with_login = bench.env.pop("UV_DEFAULT_INDEX")
    without = with_login.replace(f"user:{plant('Index')}@", "")
    if way == "extra":
        bench.env.update(UV_INDEX_URL=without, UV_EXTRA_INDEX_URL=with_login)
    elif way == "netrc":
        bench.env["UV_DEFAULT_INDEX"] = without
        text = f"machine 127.0.0.1 login user password {plant('Index')}\n"
        netrc = Path(bench.env["HOME"]) / ".netrc"
        netrc.write_text(text)
        netrc.chmod(0o600)
    elif way == "requirements":
        bench.env["INDEX_PASSWORD"] = plant("Index")
        address = without.replace("://", "://user:${INDEX_PASSWORD}@")
        bench.write({"requirements.txt": f"--index-url {address}\ntool\n"})
    else:
        bench.env.update(
            UV_DEFAULT_INDEX=f"mine={without}",
            UV_INDEX_MINE_USERNAME="user",
            UV_INDEX_MINE_PASSWORD=plant("Index"),
        )
    bench.write({"train.py": "import tool\n"})
    done = bench.exec("train.py", flags=["-v", "--json"])
    assert done.code == 0, done.err
    assert leaks_in(image_bytes(done.record.image), "image") == []
    assert planted.leaks(done.out, done.err) == []


def test_errors_show_no_secret(planted: Planted) -> None:
    bench = planted.bench
    place = str(bench.exec("train.py", flags=planted.flags).log_dir)
    secret = plant("Error")
    nowhere = f"https://user:{secret}@127.0.0.1:1/x.git"
    tries: list[tuple[tuple[str, ...], dict[str, str], int]] = [
        (("exec", "-v", "train.py"), {"DOCKER_HOST": f"tcp://user:{secret}@127.0.0.1:1"}, 125),
        (("exec", "train.py"), {"DOCKER_HOST": f"ssh://user:{secret}@127.0.0.1:1"}, 125),
        (("exec", "--rebuild", "train.py"),
         {"UV_DEFAULT_INDEX": f"http://user:{secret}@127.0.0.1:1/simple"}, 125),
        (("exec", "--base-image", f"user:{secret}@127.0.0.1:1/x", "train.py"), {}, 2),
        (("rerun", "--repo", nowhere, *planted.flags, place), {}, 2),
        (("rerun", place), {}, 2),
        (("exec", "--token", "x", "train.py"), {}, 2),
        (("exec", "-P", f"api_key={secret}", "train.py"), {}, 2),
        (("exec", "train.py", "--token", secret), {}, 2),
        (("exec", "train.py", f"--password={secret}"), {}, 2),
        (("rerun", *planted.flags, place, "--", "--token", secret), {}, 2),
        (("sweep", "--grid", f"password={secret},{secret}2", "train.py"), {}, 2),
        (("exec", "--secret", secret, "train.py"), {}, 2),
        (("exec", "--secret", f"id=a,value={secret}", "train.py"), {}, 2),
        (("exec", "-e", f"NOT-A-NAME={secret}", "train.py"), {}, 2),
    ]  # fmt: skip
    texts = []
    for words, env, code in tries:
        done = bench.reprorun(*words, env=env)
        assert done.code in (code, 2, 125), (words, done.err)
        texts += [done.out, done.err]
        assert leaks_in(as_bytes(done.out + done.err), " ".join(words)) == []
    assert planted.leaks(*texts) == []


def test_a_password_in_a_file_of_the_repository_is_refused(planted: Planted) -> None:
    bench = planted.bench
    address = bench.env["UV_DEFAULT_INDEX"]
    bench.write({"requirements.txt": f"--index-url {address}\ntool\n"})
    done = bench.exec("train.py", flags=planted.flags)
    assert "password or token" in refused(done, 2)
    assert leaks_in(as_bytes(done.err), "error") == []
