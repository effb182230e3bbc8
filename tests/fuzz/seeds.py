"""What the fuzzer starts from: for each target a few whole inputs, and the finds of earlier runs.

Finds lie in `corpus/TARGET/`: what crashed once is tried in every run.
"""

from __future__ import annotations

import gzip
import io
import json
import lzma
import pickle
import tarfile
import zipfile
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from typing import Any

from tests.packages import make_sdist, make_wheel

HERE = Path(__file__).parent
CORPUS = HERE / "corpus"
FORMATS = HERE.parent / "unit/formats/data"
SHA = "0" * 64
EVENTS = "events.out.tfevents.1"


def of(target: str) -> tuple[bytes, ...]:
    """The seeds of a target: those made here, and those kept."""
    kept = sorted((CORPUS / target).glob("*")) if (CORPUS / target).is_dir() else []
    return (*_made(target), *(path.read_bytes() for path in kept))


def whole(name: str) -> bytes:
    """An output of a format, undamaged."""
    return {**OUTPUTS, **IN_A_CHILD}[name]()[0]


# ---------------------------------------------------------------- text

_REQUIREMENTS = (
    b"""\
# what is needed
-r requirements-more.txt
--index-url https://u:${TOKEN}@example.invalid/simple
--extra-index-url=https://example.invalid/s
numpy[extra] ==1.26.* ; python_version < "3.12" \\
    --hash=sha256:"""
    + SHA.encode()
    + b"""
-e .
six @ https://example.invalid/six-1.0.zip#sha256="""
    + SHA.encode()
    + b"""
git+https://example.invalid/x.git@main#egg=x&subdirectory=y
"""
)
_LOCK = f"""\
# Python 3.11.2 on x86_64, glibc 2.36
# made by reprorun
numpy==1.26.4 \\
    --hash=sha256:{SHA}
""".encode()
_POETRY = f"""\
[[package]]
name = "numpy"
version = "1.26.4"
optional = false
python-versions = ">=3.9"
groups = ["main"]
markers = "python_version < \\"3.12\\""
files = [{{file = "numpy-1.26.4-py3-none-any.whl", hash = "sha256:{SHA}"}}]
[package.dependencies]
six = {{version = ">=1,<2", optional = true, markers = "extra == \\"x\\""}}
[package.extras]
x = ["six (>=1,<2)"]
[package.source]
type = "git"
url = "https://example.invalid/x.git"
resolved_reference = "{"0" * 40}"
[metadata]
lock-version = "2.1"
python-versions = "^3.9"
content-hash = "{SHA}"
""".encode()
_PIPFILE = json.dumps({
    "_meta": {"hash": {"sha256": SHA}, "pipfile-spec": 6, "requires": {"python_version": "3.11"},
              "sources": [{"name": "pypi", "url": "https://example.invalid/s"}]},
    "default": {"six": {"hashes": [f"sha256:{SHA}"], "version": "==1.17.0", "index": "pypi",
                        "markers": "python_version >= '2.7'"},
                "x": {"git": "https://example.invalid/x.git", "ref": "0" * 40}},
    "develop": {},
}).encode()  # fmt: skip
_PROJECT = b"""\
[build-system]
requires = ["setuptools"]
[project]
name = "x"
version = "1"
requires-python = ">=3.9,<3.13"
dependencies = ["numpy>=1.26; python_version<'3.12'", "six @ https://example.invalid/s.whl"]
dynamic = ["optional-dependencies"]
[project.optional-dependencies]
a = ["six"]
[dependency-groups]
dev = ["pytest", {include-group = "b"}]
b = []
[tool.uv.sources]
six = {git = "https://example.invalid/x.git", rev = "main"}
[tool.poetry.dependencies]
python = "^3.9"
numpy = {version = "^1.24", extras = ["x"]}
[tool.setuptools]
package-dir = {"" = "src"}
[tool.reprorun]
python = "3.11"
memory = "4g"
gpus = "none"
timeout = "2h"
network = "none"
base-image = "python:{python}-slim"
[tool.reprorun.check]
rtol = 1e-6
"""
_SETUP_PY = b"""\
import os
from setuptools import setup, find_packages
HERE = os.path.dirname(__file__)
NEEDS = ["numpy>=1.2", "six"] + ["scipy"]
setup(name="x", version="1.%d" % 2, install_requires=NEEDS, python_requires=">=3.6",
      extras_require={"a": ["b"], **{"c": ["d"]}}, package_dir={"": "src"},
      packages=find_packages())
"""
_SETUP_CFG = b"""\
[metadata]
name = x
[options]
python_requires = >=3.6
package_dir =
    = src
install_requires =
    numpy>=1.2; python_version < "3.9"
    six
[options.extras_require]
a = b
"""
_CONDA = b"""\
name: x
channels: [conda-forge]
dependencies:
  - python=3.9.*
  - numpy=1.21=py39_0
  - "conda-forge::scipy>=1.8,<2"
  - &a pip
  - pip:
      - six==1.0
variables: {A: 1}
"""
_IMPORTS = b"""\
from __future__ import annotations
import numpy as np, os.path
from scipy.stats import norm
if True:
    try:
        import cupy
    except ImportError:
        cupy = None
def f():
    import importlib
    importlib.import_module("six")
    __import__("yaml")
from . import x
"""
_UV_ANSWER = f"""\
lock-version = "1.0"
created-by = "uv"
requires-python = ">=3.11"
[[packages]]
name = "six"
version = "1.0"
index = "https://example.invalid/simple"
sdist = {{ url = "https://example.invalid/six-1.0.tar.gz", hashes = {{ sha256 = "{SHA}" }} }}
[[packages.wheels]]
url = "https://example.invalid/six-1.0-py3-none-any.whl"
size = 1
hashes = {{ sha256 = "{SHA}" }}
[[packages]]
name = "x"
vcs = {{ type = "git", url = "https://example.invalid/x.git", commit-id = "{"0" * 40}" }}
[[packages]]
name = "y"
directory = {{ path = "libs/y", editable = true }}
[[packages]]
name = "z"
archive = {{ url = "https://example.invalid/z.zip", hashes = {{ sha256 = "{SHA}" }} }}
""".encode()
_TEXTS: dict[str, tuple[bytes, ...]] = {
    "requirements": (_REQUIREMENTS, b"\xef\xbb\xbfsix\n", "six\n".encode("utf-16")),
    "lock": (_LOCK,),
    "poetry-lock": (_POETRY,),
    "pipfile-lock": (_PIPFILE,),
    "project": (_PROJECT,),
    "setup": (_SETUP_PY,),
    "setup-cfg": (_SETUP_CFG,),
    "conda": (_CONDA,),
    "imports": (_IMPORTS,),
    "python-version": (b"\n3.11\n", b"x\npython-3.11.2\n", b"xx\n" + _PROJECT, b"xxx\n" + _CONDA),
    "apt": (b"gcc\nlibfoo=1:2.0-1 # why\n",),
    "settings": (_PROJECT,),
    "uv-settings": (b'[[index]]\nname = "a"\nurl = "https://example.invalid"\n[pip]\nx = 1\n',),
    "grid": (b'seed=0..9\nlr=0.1,0.01\nname="a",[1,2]\nother=1..4..2', b'a={"x": 1},null'),
    "uv-answer": (_UV_ANSWER,),
    "docker-config": (
        b'{"currentContext": "default", "auths": {"h": {"auth": "dTpw"}}}',
        b'{"currentContext": "x"}',
    ),
    "progress": (b'a,b,c\n1,2.5,"x\ny"\n=1+1,nan,\n', b"a\tb\n"),
    "guest-report": (
        b'{"started": "2024-01-01T00:00:00Z", "seconds": 1.5, "exit_code": 0, "python": "3.11.2",'
        b' "not_kept": [{"path": "a", "size": null, "sha256": null, "reason": "x"}]}',
    ),
    "variant": (b'{"lr": 0.1, "name": "x", "nested": {"a": [1, null, true]}}',),
    "garage-metadata": (
        b'{"githash": "' + b"0" * 40 + b'-dirty", "launcher": "train.py"}',
        b'{"launcher": "/home/x/train.py"}',
    ),
    "wheel-metadata": (
        b"Metadata-Version: 2.1\nName: tool\nVersion: 1.0\nRequires-Dist: six>1; extra == 'x'\n"
        b"Provides-Extra: x\nRequires-Python: >=3.9\n\nLong text\n",
    ),
    "wheel-wheel": (b"Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",),
    "wheel-entry_points": (b"[console_scripts]\ntool = tool:main\nother = a.b:c.d [x]\n",),
}


def _made(target: str) -> tuple[bytes, ...]:
    if target in _TEXTS:
        return _TEXTS[target]
    if target.startswith("compare-"):
        return {**OUTPUTS, **IN_A_CHILD}[target.removeprefix("compare-")]()
    if target.startswith("series-"):
        return OUTPUTS[target.removeprefix("series-")]()
    return _OTHERS[target]()


# ---------------------------------------------------------------- archives


def a_tar(*, odd: bool = False) -> bytes:
    """A tar with files, a directory and links; `odd`: also what no archive of ours holds."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.PAX_FORMAT) as tar:
        for name, kind, target in (
            ("train.py", tarfile.REGTYPE, ""), ("lib", tarfile.DIRTYPE, ""),
            ("lib/" + "long" * 30 + ".py", tarfile.REGTYPE, ""), ("link", tarfile.SYMTYPE, "lib"),
            ("hard", tarfile.LNKTYPE, "train.py"),
            *((("up", tarfile.SYMTYPE, "../../victim"), ("up/x", tarfile.REGTYPE, ""),
               ("fifo", tarfile.FIFOTYPE, ""), ("/abs", tarfile.REGTYPE, ""),
               ("../victim", tarfile.LNKTYPE, "train.py"), ("dev", tarfile.CHRTYPE, ""))
              if odd else ()),
        ):  # fmt: skip
            info = tarfile.TarInfo(name)
            info.type, info.linkname, info.mode, info.mtime = kind, target, 0o755, 1_700_000_000
            data = b"print(1)\n" if kind == tarfile.REGTYPE else b""
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    return out.getvalue()


def launch_archive() -> bytes:
    """A whole launch archive."""
    return lzma.compress(a_tar(), preset=0)


def wheel_members() -> dict[str, bytes]:
    """The members of a whole wheel."""
    _, data = make_wheel("tool", "1.0", entry_points="[console_scripts]\ntool = tool:main\n",
                         scripts={"run": b"#!python\nprint(1)\n"}, requires=["six"])  # fmt: skip
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def _a_wheel() -> tuple[bytes, ...]:
    return (make_wheel("tool", "1.0", data={"headers/x.h": b"1", "data/share/x": b"2"})[1],)


def _sdist_zip() -> tuple[bytes, ...]:
    return (_zip({"tool-1.0/pyproject.toml": _PROJECT, "tool-1.0/tool.py": b"1"}),)


def _zip(members: dict[str, bytes], compression: int = zipfile.ZIP_DEFLATED) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", compression) as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    return out.getvalue()


# ---------------------------------------------------------------- records


@lru_cache(maxsize=1)
def _record() -> bytes:
    from hashlib import sha256

    archive = launch_archive()
    said = {
        "reprorun": {"schema": 1, "version": "0"}, "id": "0123456789abcdef", "status": "finished",
        "created": "2024-01-01T00:00:00+00:00", "argv": ["train.py", "--lr", "0.1"],
        "command": ["python", "train.py"], "launcher": "train.py", "cwd": ".",
        "params": {"lr": 0.1}, "environment": {"A": "1", "TOKEN": "<redacted>"}, "secrets": ["k"],
        "githash": "0" * 40, "archive": {
            "sha256": sha256(archive).hexdigest(), "size": len(archive), "files": 4},
        "left_out": [{"path": "big", "size": 1 << 24, "sha256": SHA, "reason": "large"}],
        "submodules": [{"path": "sub", "commit": "0" * 40}],
        "inputs": [{"path": "/data", "target": "/data", "size": 1, "sha256": SHA}],
        "packages": [{"name": "six", "version": "1.0", "address": "https://example.invalid/x",
                      "wheel": {"name": "six-1.0-py3-none-any.whl", "sha256": SHA},
                      "source": {"kind": "sdist", "name": "six-1.0.tar.gz", "sha256": SHA}}],
        "base_image": {"ref": "python:3.11", "id": "sha256:0", "digest": f"sha256:{SHA}",
                       "python": "3.11.2", "machine": "x86_64", "libc": "glibc 2.36",
                       "apt": ["gcc"], "installed": ["gcc=1"]},
        "engine": {"name": "docker", "version": "20", "api_version": "1.41"},
        "limits": {"memory": 1, "timeout": 1.5}, "host": {"gpus": ["a"], "memory": 1 << 40},
        "started": "2024-01-01T00:00:00Z", "ended": "2024-01-01T00:00:01+00:00", "seconds": 1.0,
        "exit_code": 0, "peak_memory": 1 << 30, "sub_records": ["train"],
        "outputs": [{"path": "outputs/a.txt", "size": 1, "sha256": SHA}],
        "variations": [{"factor": "timezone", "value": "UTC", "seed": 1}],
        "differences": [{"what": "a", "original": "b", "now": "c", "wanted": True}],
        "notes": ["a note"], "rerun_of": "0" * 16, "asked_gpus": {"kind": "count", "count": 2},
    }  # fmt: skip
    return json.dumps(said).encode()


def _sweep() -> tuple[bytes, ...]:
    head = {
        "reprorun": {"schema": 1, "version": "0"}, "sweep": "0" * 16, "created": "2024-01-01",
        "script": "train.py", "args": ["{lr}"], "cwd": ".", "params": {"a": 1},
        "points": {"grid": {"seed": {"range": [0, 9, 1]}, "lr": [0.1, "x", None]},
                   "zipped": {}, "listed": [{"b": 1}, {"b": 2}], "sample": 5, "sample_seed": 1},
        "environment_digest": "sha256:0", "archive_sha256": SHA, "githash": "0" * 40,
        "launcher": "train.py",
    }  # fmt: skip
    runs = [{"params": {"b": 1, "seed": 0, "lr": 0.1}, "status": "finished", "record": "runs/1"}]
    return json.dumps({**head, "runs": runs}).encode(), json.dumps(head).encode()


def pack_members() -> dict[str, bytes]:
    """The members of a small pack."""
    from hashlib import sha256

    content = {"record/run.json": b"1", "wheels/six-1.0-py3-none-any.whl": b"2",
               "image/settings.json": b"{}", "image/layer-1.tar.gz": gzip.compress(b"3", mtime=0),
               "inputs/1": b"4"}  # fmt: skip

    def stored(entry: str, **more: Any) -> dict[str, Any]:
        data = content[entry]
        return {"entry": entry, "size": len(data), "sha256": sha256(data).hexdigest(), **more}

    index = {
        "pack": {"schema": 1, "version": "0"}, "name": "run",
        "record": [stored("record/run.json", path="run.json")],
        "wheels": [stored("wheels/six-1.0-py3-none-any.whl", name="six-1.0-py3-none-any.whl")],
        "image": {
            "ref": "python:3.11", "id": "sha256:0", "digest": f"sha256:{SHA}",
            "settings": stored("image/settings.json"),
            "layers": [{"entry": "image/layer-1.tar.gz", "diff_id": f"sha256:{SHA}", "size": 1}],
        },
        "inputs": [{"target": "/data", "sha256": sha256(b"4").hexdigest(),
                    "file": stored("inputs/1")}],
    }  # fmt: skip
    return {**content, "pack.json": json.dumps(index).encode()}


def _packs() -> tuple[bytes, ...]:
    return (_zip(pack_members(), zipfile.ZIP_STORED),)


_OTHERS: dict[str, Callable[[], tuple[bytes, ...]]] = {
    "uv-lock": lambda: ((FORMATS / "uv.lock").read_bytes(),),
    "pylock": lambda: ((FORMATS / "pylock.toml").read_bytes(),),
    "launch-archive": lambda: (launch_archive(),),
    "launch-tar": lambda: (a_tar(), a_tar(odd=True)),
    "extract": lambda: (a_tar(), a_tar(odd=True)),
    "wheel": _a_wheel,
    "wheel-record": lambda: (wheel_members()["tool-1.0.dist-info/RECORD"],),
    "sdist-tar": lambda: (make_sdist("tool", "1.0")[1],),
    "sdist-zip": _sdist_zip,
    "pack": _packs,
    "pack-index": lambda: (pack_members()["pack.json"],),
    "record": lambda: (_record(),),
    "record-shown": lambda: (_record(),),
    "record-exported": lambda: (_record(),),
    "sweep-book": _sweep,
}


# ---------------------------------------------------------------- outputs


def _numbers() -> Any:
    import numpy as np

    return np.arange(12, dtype="f8").reshape(3, 4)


def _npy(**more: Any) -> bytes:
    import numpy as np

    out = io.BytesIO()
    np.save(out, more.get("array", _numbers()))
    return out.getvalue()


def _npz() -> bytes:
    import numpy as np

    out = io.BytesIO()
    np.savez(out, a=_numbers(), b=_numbers().astype("i4"))
    return out.getvalue()


def _structured() -> bytes:
    import numpy as np

    return _npy(array=np.zeros(3, dtype=[("a", "<i4"), ("b", "S3", (2,))]))


def _pickles() -> tuple[bytes, ...]:
    value = {"a": [1, 2.5, None, "x", b"y"], "t": (True, {3, 4}), "n": _numbers(), "c": 1j}
    return tuple(pickle.dumps(value, protocol) for protocol in (0, 2, 4, 5))


def _torch() -> tuple[bytes, ...]:
    from tests.unit.compare.rich_kit import legacy_torch_file, torch_file
    from tests.unit.compare.test_torch import state

    return torch_file(state()), legacy_torch_file(state())


def _tfevents() -> tuple[bytes, ...]:
    from tests.unit.compare import test_tensorboard as board

    more = board.event(1, "h", board.histogram(1, 2)) + board.event(2, "t", board.tensor(1, 2))
    return (board.training(3) + more,)


def _safetensors() -> tuple[bytes, ...]:
    from tests.unit.compare.test_safetensors import VALUES, written

    return (written(VALUES, format="pt"),)


def _sqlite() -> tuple[bytes, ...]:
    import sqlite3

    base = sqlite3.connect(":memory:")
    base.executescript(
        "create table a (id integer primary key, x real, y text, z blob);"
        "insert into a values (1, 0.5, 'b', x'00'), (2, null, 'c', x'ff');"
        "create index i on a (x); create view v as select * from a;"
        "create trigger t after insert on a begin delete from a; end;"
    )
    data = base.serialize()
    base.close()
    return (data,)


def _notebook() -> tuple[bytes, ...]:
    from tests.unit.compare.test_notebook import notebook

    return (json.dumps(notebook()).encode(),)


def _tars() -> tuple[bytes, ...]:
    return a_tar(), gzip.compress(a_tar(), mtime=0)


OUTPUTS: dict[str, Callable[[], tuple[bytes, ...]]] = {
    "x.npy": lambda: (_npy(), _structured()),
    "x.npz": lambda: (_npz(),),
    "x.zip": lambda: (_zip({"a.txt": b"1", "b.json": b"{}", "c/d.csv": b"a,b\n1,2\n"}),),
    "x.tar": _tars,
    "x.gz": lambda: (gzip.compress(b"a,b\n1,2\n", mtime=0),),
    "x.xz": lambda: (lzma.compress(b"a,b\n1,2\n"),),
    "x.pkl": _pickles,
    "x.pt": _torch,
    "x.safetensors": _safetensors,
    EVENTS: _tfevents,
    "x.ipynb": _notebook,
    "x.csv": lambda: (b'step,loss,name\n1,0.5,a\n2,nan,"b\nc"\n3,1e400,-0\n', b"a;b\n1;2\n"),
    "x.tsv": lambda: (b"a\tb\n1\t2\n",),
    "x.json": lambda: (b'{"a": [1, 2.5, null, {"b": "2024-01-01T00:00:00Z"}], "c": 1e5}',),
    "x.jsonl": lambda: (b'{"step": 1, "loss": 0.5}\n{"step": 2}\n',),
    "x.txt": lambda: (b"took 1.5 s at 2024-01-01 00:00:00 in /tmp/x/y <obj at 0x7f00>\n",),
    "x.log": lambda: (b"\x1b[31mred\x1b[0m 1.0 2\r\n50%|##  | 1/2 [00:01<00:01]\r",),
    "x.sqlite": _sqlite,
}
"""Formats that are read in our own process, by the name of an output."""


def _hdf5() -> tuple[bytes, ...]:
    import h5py

    out = io.BytesIO()
    with h5py.File(out, "w") as file:
        file["a/b"] = _numbers()
        file["a"].attrs["x"] = "y"
    return (out.getvalue(),)


def _parquet() -> tuple[bytes, ...]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    out = io.BytesIO()
    pq.write_table(pa.table({"a": [1, 2, 3], "b": ["x", None, "z"]}), out)
    return (out.getvalue(),)


def _feather() -> tuple[bytes, ...]:
    import pyarrow as pa
    import pyarrow.feather as feather

    out = io.BytesIO()
    feather.write_feather(pa.table({"a": [1, 2, 3], "b": [[1.0], [], None]}), out)
    return (out.getvalue(),)


def _image(form: str) -> tuple[bytes, ...]:
    from PIL import Image

    out = io.BytesIO()
    Image.new("RGB", (4, 3), (1, 2, 3)).save(out, form)
    return (out.getvalue(),)


IN_A_CHILD: dict[str, Callable[[], tuple[bytes, ...]]] = {
    "x.h5": _hdf5,
    "x.parquet": _parquet,
    "x.feather": _feather,
    "x.png": lambda: _image("PNG"),
    "x.gif": lambda: _image("GIF"),
    "x.tif": lambda: _image("TIFF"),
}
"""Formats that libraries in C read, in a process of their own."""
