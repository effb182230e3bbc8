"""environment.yml."""

from __future__ import annotations

from pathlib import Path

import pytest

from reprorun.errors import UsageError
from reprorun.formats.conda import python_of
from reprorun.formats.conda_names import PLUMBING, RENAMED, SAME
from reprorun.model import Wanted

from . import trees


def read(root: Path, text: str, **files: str) -> Wanted:
    given: dict[str, str | bytes] = {"environment.yml": text, **files}
    return trees.wanted(root, "conda", "environment.yml", given)


def listing(*entries: str) -> str:
    return "name: x\nchannels: [conda-forge]\ndependencies:\n" + "".join(
        f"  - {entry}\n" for entry in entries
    )


@pytest.mark.parametrize(
    ("entry", "line"),
    [
        ("numpy", "numpy"),
        ("numpy=1.21", "numpy==1.21.*"),
        ("numpy=1.21.*", "numpy==1.21.*"),
        ("numpy 1.21.*", "numpy==1.21.*"),
        ("numpy 1.21", "numpy==1.21"),
        ("numpy==1.21.2", "numpy==1.21.2"),
        ("numpy=1.21.2=py39_0", "numpy==1.21.2"),
        ("numpy 1.21.2 py39_0", "numpy==1.21.2"),
        ("numpy=1.21.*=mkl*", "numpy==1.21.*"),
        ("'numpy>=1.2,<2'", "numpy>=1.2,<2"),
        ("'numpy >=1.2, <2'", "numpy>=1.2,<2"),
        ("'numpy!=1.20.*'", "numpy!=1.20.*"),
        ("'numpy=*'", "numpy"),
        ("conda-forge::numpy=1.21", "numpy==1.21.*"),
        ("pytorch=1.12.1", "torch==1.12.1.*"),
        ("PyTorch", "torch"),
        ("scikit-learn[version='>=1.4']", "scikit-learn>=1.4"),
        ('numpy[version=">=1.2,<2", build=py39_0]', "numpy>=1.2,<2"),
        ("numpy [ version = 1.21 ]", "numpy==1.21"),
        ("conda-forge::numpy[version=1.21.*,channel=main]", "numpy==1.21.*"),
        ("numpy=1.21[build=py39_0,subdir=linux-64]", "numpy==1.21.*"),
        ("'numpy >=1.2 [build_number=3]'", "numpy>=1.2"),
        ("numpy=1.2*", "numpy==1.2.*"),  # in conda, too, it is 1.2 and 1.2.1, not 1.20
    ],
)
def test_versions(entry: str, line: str, tmp_path: Path) -> None:
    assert read(tmp_path, listing(entry)).lines == (line,)


def test_all_of_it(tmp_path: Path) -> None:
    text = listing(
        "python=3.9.7",
        "pip",
        "_libgcc_mutex=0.1=main",
        "openssl",
        "opencv=4.5",
        "scipy",
        "pip:\n    - -r more.txt\n    - einops==0.6\n    - -e ./lib",
    )
    found = read(
        tmp_path,
        text,
        **{"more.txt": "rich\n", "lib/setup.py": "from setuptools import setup\nsetup()\n"},
    )
    assert found.lines == ("opencv-python==4.5.*", "scipy", "rich", "einops==0.6")
    assert found.paths == ("lib",)
    assert found.files == ("environment.yml", "more.txt", "lib/setup.py")
    assert python_of(str(tmp_path), "environment.yml") == "3.9"
    renamed, left_out = found.notes
    assert "opencv as opencv-python" in renamed
    assert "_libgcc_mutex, openssl" in left_out


def test_what_only_conda_has_is_named_at_once(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="known to conda only: gromacs, r-base") as caught:
        read(tmp_path, listing("numpy", "gromacs=2020", "r-base"))
    assert "apt.txt" in str(caught.value)
    assert len(str(caught.value).splitlines()) == 2


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("dependencies: 3", "is not the list"),
        ("- numpy", "is not the table"),
        ("dependencies: [3]", "is not the text"),
        ("dependencies: [{npm: [x]}]", "only `pip:` is known"),
        ("dependencies: ['numpy 1.2|1.3']", "has alternatives"),
        ("dependencies: ['numpy>=x']", "can't be read"),
        ("dependencies: ['>=1']", "is no package"),
        ("dependencies: ['numpy[mkl]']", "brackets of .* can't be read"),
        ("dependencies: ['numpy[version=>=1,<2]']", "brackets of .* can't be read"),
        ("dependencies: ['numpy[version=1|2]']", "has alternatives"),
        ("dependencies: ['numpy[version=1.2', x]", "is no package"),
        ("dependencies: ['numpy>=1[version=1.2]']", "one alone"),
        ("dependencies: ['numpy[version=1]x[build=2]']", "brackets of .* can't be read"),
        ("dependencies: ['numpy[version=1.2]=1']", "is no package"),
        ("dependencies: ['numpy[md5=0123]']", "only a version"),
        ("dependencies: [numpy", "can't be read"),
        ("!!python/object/apply:os.system [touch mark]", "can't be read"),
    ],
)
def test_bad_input(
    text: str, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UsageError, match=message) as caught:
        read(tmp_path, text)
    assert "environment.yml" in str(caught.value)
    assert not (tmp_path / "mark").exists()


def test_an_empty_file(tmp_path: Path) -> None:
    assert read(tmp_path, "name: x\n").lines == ()


def test_no_name_is_in_two_tables() -> None:
    assert not SAME & PLUMBING
    assert not SAME & set(RENAMED)
    assert not PLUMBING & set(RENAMED)
