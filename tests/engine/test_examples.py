"""The examples that ship with the repository, run in containers, with their results looked at."""

from __future__ import annotations

import csv
import json
import shutil
import statistics
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest

from reprorun import store

from .bench import CHECKOUT, Bench, sha256
from .complete import assert_complete


@pytest.fixture
def examples(bench: Bench) -> Bench:
    """A repository with the examples in it, as in the checkout."""
    ignored = shutil.ignore_patterns("__pycache__", "data")
    shutil.copytree(CHECKOUT / "examples", bench.root / "examples", ignore=ignored)
    bench.commit()
    return bench


def rows(path: Path) -> list[dict[str, float]]:
    with path.open(newline="") as file:
        return [{name: float(text) for name, text in row.items()} for row in csv.DictReader(file)]


def test_digits(examples: Bench) -> None:
    where = "data/local/experiment/train"
    done = examples.exec("examples/digits/train.py", "--epochs", "12", log_dir=where)
    record = assert_complete(done, examples, "examples/digits/train.py")
    assert record.argv == ("examples/digits/train.py", "--epochs", "12")
    assert record.requirements == "examples/digits/requirements.txt"
    assert record.sub_records == ("digits",)
    names = ("metadata.json", "progress.csv", "variant.json", "weights.npz")
    assert [output.path for output in record.outputs] == [f"digits/{name}" for name in names]

    progress = rows(done.log_dir / "digits/progress.csv")
    assert [row["epoch"] for row in progress] == list(range(1, 13))
    assert progress[-1]["loss"] < 0.3 < progress[0]["loss"]
    assert progress[-1]["accuracy"] > 0.93
    last = f"epoch  12  loss {progress[-1]['loss']:.4f}  accuracy {progress[-1]['accuracy']:.4f}"
    assert done.out.splitlines()[-1] == last
    assert len(done.out.splitlines()) == 3
    assert done.console == done.out.encode()

    with np.load(done.log_dir / "digits/weights.npz") as weights:
        shapes = {name: weights[name].shape for name in weights.files}
        assert shapes == {"w1": (64, 64), "b1": (64,), "w2": (64, 10), "b2": (10,)}
        assert all(np.isfinite(weights[name]).all() for name in weights.files)
        assert np.abs(weights["w2"]).max() > 0.1

    variants = [done.log_dir / store.VARIANT_FILE, done.log_dir / "digits" / store.VARIANT_FILE]
    assert [json.loads(path.read_bytes()) for path in variants] == [{"seed": 1, "epochs": 12}] * 2
    lock = (done.log_dir / store.LOCK_FILE).read_text()
    locked = [line.split("==")[0] for line in lock.splitlines() if "==" in line]
    assert {"numpy", "scikit-learn", "scipy", "joblib"} <= set(locked)
    assert lock.count("--hash=sha256:") >= len(locked)


def test_bandit(examples: Bench) -> None:
    done = examples.exec("examples/bandit/bandit.py")
    record = assert_complete(done, examples, "examples/bandit/bandit.py")
    epsilons = [0.0, 0.01, 0.1, 0.5]
    assert record.sub_records == tuple(f"bandit_epsilon={epsilon}" for epsilon in epsilons)
    root = {n: (done.log_dir / n).read_bytes() for n in ("metadata.json", store.ARCHIVE_FILE)}
    regrets = []
    for epsilon, name in zip(epsilons, record.sub_records, strict=True):
        sub = done.log_dir / name
        assert json.loads((sub / store.VARIANT_FILE).read_bytes()) == {"epsilon": epsilon}
        assert json.loads((sub / "metadata.json").read_bytes()) == json.loads(root["metadata.json"])
        assert sha256((sub / store.ARCHIVE_FILE).read_bytes()) == sha256(root[store.ARCHIVE_FILE])
        progress = rows(sub / "progress.csv")
        assert [row["step"] for row in progress] == list(range(100, 5001, 100))
        regrets.append(progress[-1]["regret"])
    assert [float(line.split()[-1]) for line in done.out.splitlines()] == pytest.approx(
        regrets,
        abs=0.051,  # printed with one digit
    )
    assert min(regrets) == regrets[2] < regrets[3] < regrets[0] == max(regrets)
    by_name = json.loads((done.log_dir / store.VARIANT_FILE).read_bytes())
    assert by_name == {f"bandit_epsilon={epsilon}": {"epsilon": epsilon} for epsilon in epsilons}
    assert (done.log_dir / store.LOCK_FILE).read_text() == ""


def test_plain(examples: Bench) -> None:
    done = examples.exec("plot.py", cwd="examples/plain")
    record = assert_complete(done, examples, "examples/plain/plot.py")
    assert record.cwd == "examples/plain"
    assert record.sub_records == ()
    outputs = done.log_dir / "outputs/examples/plain"
    assert sorted(path.name for path in outputs.iterdir()) == ["plot.png", "summary.json"]

    with (examples.root / "examples/plain/iris.csv").open(newline="") as file:
        flowers = list(csv.DictReader(file))
    summary = json.loads((outputs / "summary.json").read_bytes())
    assert sorted(summary) == sorted({row["species"] for row in flowers})
    for species, found in summary.items():
        lengths = [float(row["petal_length"]) for row in flowers if row["species"] == species]
        assert found["count"] == len(lengths) == 50
        assert found["mean_length"] == pytest.approx(statistics.fmean(lengths), abs=1e-4)

    size, pixels = unpack_png((outputs / "plot.png").read_bytes())
    assert size == (900, 600)
    assert len(set(pixels)) > 16
    assert json.loads((done.log_dir / store.VARIANT_FILE).read_bytes()) == {}
    assert not (examples.root / "examples/plain/plot.png").exists()


def unpack_png(data: bytes) -> tuple[tuple[int, int], bytes]:
    """Width and height, and the pixels as they are filtered; every checksum has to be right."""
    assert data[:8] == b"\x89PNG\r\n\x1a\n"
    chunks: dict[bytes, bytes] = {}
    at = 8
    while at < len(data):
        length, kind = struct.unpack(">I4s", data[at : at + 8])
        body = data[at + 8 : at + 8 + length]
        (checksum,) = struct.unpack(">I", data[at + 8 + length : at + 12 + length])
        assert checksum == zlib.crc32(kind + body)
        chunks[kind] = chunks.get(kind, b"") + body
        at += 12 + length
    width, height = struct.unpack(">II", chunks[b"IHDR"][:8])
    return (width, height), zlib.decompress(chunks[b"IDAT"])
