"""Which wheel is taken: the one that an installer in the container would take, as uv does."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from urllib.parse import unquote

import msgspec
import pytest

from reprorun.environment.tags import best_wheel
from reprorun.environment.uv import UvFailed, for_image, run_uv
from reprorun.model import BaseImage, RemoteFile
from tests.index import Index, make_sdist, make_wheel

from .indexed import ask
from .values import BASE


def base(python: str = "3.11.2", machine: str = "x86_64", libc: str = "glibc 2.36") -> BaseImage:
    return msgspec.structs.replace(BASE, python=python, machine=machine, libc=libc)


def best(tags: list[str], for_base: BaseImage = BASE) -> str | None:
    """The tag that is taken, of wheels that differ in nothing else."""
    files = [RemoteFile(name=f"a-1.0-{tag}.whl", sha256="0" * 64) for tag in tags]
    found = best_wheel(files, for_base)
    assert found == best_wheel(reversed(files), for_base)
    return found.name.removeprefix("a-1.0-").removesuffix(".whl") if found else None


MUSL = base(libc="musl")
MUSL_NEW = base(libc="musl 1.2")
ARM = base(machine="aarch64")
OLD = base("3.9.2", libc="glibc 2.31")

# what is offered, for what, and what is taken of it
CASES: dict[str, tuple[list[str], BaseImage, str | None]] = {
    "own Python before any": (["py3-none-any", "cp311-cp311-manylinux_2_17_x86_64"], BASE, "cp311"),
    "pure Python": (["py2.py3-none-any"], BASE, "py2.py3-none-any"),
    "another Python": (["cp310-cp310-manylinux_2_17_x86_64"], BASE, None),
    "a later Python": (["cp312-abi3-manylinux_2_17_x86_64", "py312-none-any"], BASE, None),
    "Python 2": (["py2-none-any", "cp27-cp27mu-manylinux1_x86_64"], BASE, None),
    "abi3 of an older Python": (["cp37-abi3-manylinux2014_x86_64"], BASE, "cp37-abi3"),
    "the newest abi3": (
        ["cp36-abi3-manylinux1_x86_64", "cp39-abi3-manylinux1_x86_64"], BASE, "cp39-abi3",
    ),
    "own before abi3": (
        ["cp311-abi3-manylinux1_x86_64", "cp311-cp311-manylinux1_x86_64"], BASE, "cp311-cp311",
    ),
    "manylinux1": (["cp311-cp311-manylinux1_x86_64"], BASE, "cp311-cp311-manylinux1_x86_64"),
    "manylinux2010": (["cp311-cp311-manylinux2010_x86_64"], BASE, "cp311-cp311-manylinux2010"),
    "several platforms": (
        ["cp311-cp311-manylinux_2_17_x86_64.manylinux2014_x86_64"], BASE, "cp311-cp311-manylinux_2",
    ),
    "the newest platform that runs": (
        ["cp311-cp311-manylinux_2_17_x86_64", "cp311-cp311-manylinux_2_28_x86_64",
         "cp311-cp311-manylinux_2_39_x86_64"], BASE, "cp311-cp311-manylinux_2_28",
    ),
    "too new a glibc": (["cp39-cp39-manylinux_2_34_x86_64"], OLD, None),
    "just old enough a glibc": (["cp39-cp39-manylinux_2_31_x86_64"], OLD, "cp39-cp39-manylinux"),
    "unknown Linux": (["cp311-cp311-linux_x86_64"], BASE, "cp311-cp311-linux_x86_64"),
    "another processor": (["cp311-cp311-manylinux_2_17_aarch64"], BASE, None),
    "arm64": (
        ["cp311-cp311-manylinux_2_17_x86_64", "cp311-cp311-manylinux2014_aarch64"], ARM,
        "cp311-cp311-manylinux2014_aarch64",
    ),
    "other systems": (
        ["cp311-cp311-win_amd64", "cp311-cp311-macosx_11_0_arm64", "py3-none-win32"], BASE, None,
    ),
    "no musl on glibc": (["cp311-cp311-musllinux_1_2_x86_64"], BASE, None),
    "no glibc on musl": (["cp311-cp311-manylinux_2_17_x86_64"], MUSL, None),
    "musl": (["cp311-cp311-musllinux_1_1_x86_64"], MUSL, "cp311-cp311-musllinux_1_1"),
    "musl of today": (["cp311-cp311-musllinux_1_2_x86_64"], MUSL, "cp311-cp311-musllinux_1_2"),
    "too new a musl": (["cp311-cp311-musllinux_1_5_x86_64"], MUSL_NEW, None),
    "free-threaded": (["cp311-cp311t-manylinux_2_17_x86_64"], BASE, None),
    "any ABI of this Python": (["cp311-none-any", "py3-none-any"], BASE, "cp311-none-any"),
    "older generic Python": (["py38-none-any"], BASE, "py38-none-any"),
    "platform without ABI": (
        ["py3-none-manylinux2014_x86_64", "py3-none-any"], BASE, "py3-none-manylinux2014",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_the_best_that_fits(name: str) -> None:
    tags, for_base, wanted = CASES[name]
    found = best(tags, for_base)
    assert (found or "").startswith(wanted) if wanted else found is None


def offered(index: Index, names: list[str]) -> None:
    """Offer wheels of these names, and a source distribution, which is never the best."""
    _, data = make_wheel("a", "1.0")
    for number, name in enumerate(names):
        index.add(name, data + bytes(number))
    index.add(*make_sdist("a", "1.0"))


def resolved(for_base: BaseImage = BASE) -> str | None:
    (candidate,) = ask("a", base=for_base).candidates
    return candidate.wheel.name if candidate.wheel else None


def installed_by_uv(index: Index, place: Path, for_base: BaseImage = BASE) -> str | None:
    """The wheel that uv fetches when it installs for that Python and platform."""
    with suppress(UvFailed):
        words = ["pip", "install", "a", "--no-deps", "--target", str(place / "target")]
        run_uv([*words, *for_image(for_base)], offline=False, cwd=str(place))
    fetched = {unquote(request.path.rpartition("/")[2]) for request in index.requests}
    wheels = [name for name in fetched if name.endswith(".whl")]
    assert len(wheels) <= 1
    return wheels[0] if wheels else None


@pytest.mark.parametrize("name", CASES)
def test_uv_installs_the_same(name: str, index: Index, tmp_path: Path) -> None:
    tags, for_base, _ = CASES[name]
    offered(index, [f"a-1.0-{tag}.whl" for tag in tags])
    ours = best(tags, for_base)
    assert installed_by_uv(index, tmp_path, for_base) == (f"a-1.0-{ours}.whl" if ours else None)


@pytest.mark.parametrize("name", CASES)
def test_resolving_takes_the_same(name: str, index: Index) -> None:
    tags, for_base, _ = CASES[name]
    offered(index, [f"a-1.0-{tag}.whl" for tag in tags])
    ours = best(tags, for_base)
    assert resolved(for_base) == (f"a-1.0-{ours}.whl" if ours else None)


BUILDS = ["a-1.0-py3-none-any.whl", "a-1.0-1-py3-none-any.whl", "a-1.0-10b-py3-none-any.whl",
          "a-1.0-9-py3-none-any.whl"]  # fmt: skip


def test_the_latest_build() -> None:
    files = [RemoteFile(name=name, sha256="0" * 64) for name in BUILDS]
    for order in (files, files[::-1]):
        found = best_wheel(order, BASE)
        assert found is not None
        assert found.name == "a-1.0-10b-py3-none-any.whl"


def test_uv_takes_the_latest_build_too(index: Index, tmp_path: Path) -> None:
    offered(index, BUILDS)
    assert installed_by_uv(index, tmp_path) == "a-1.0-10b-py3-none-any.whl"
    assert resolved() == "a-1.0-10b-py3-none-any.whl"


@pytest.mark.parametrize(
    "name",
    ["a-1.0.tar.gz", "a.whl", "a-1.0-py3-none.whl", "a-one-py3-none-any.whl", "", "-.whl", "x.exe",
     "a-1.0-x-py3-none-any.whl", "a-1.0-py3.11.x-none-any.exe"],
)  # fmt: skip
def test_what_is_no_wheel_is_passed_over(name: str) -> None:
    files = [RemoteFile(name=n, sha256="0" * 64) for n in (name, "a-1.0-py3-none-any.whl")]
    found = best_wheel(files, BASE)
    assert found is not None
    assert found.name == "a-1.0-py3-none-any.whl"
    assert best_wheel(files[:1], BASE) is None


def test_nothing_is_offered() -> None:
    assert best_wheel([], BASE) is None
