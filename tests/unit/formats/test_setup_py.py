"""setup.py is read, never run."""

from __future__ import annotations

import textwrap
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reprorun.errors import UsageError
from reprorun.formats.setup_py import SetupCall, read_setup_py

from . import trees

HEAD = "from setuptools import setup, find_packages\n"


def read(root: Path, text: str) -> SetupCall:
    trees.plant(root, {"setup.py": HEAD + textwrap.dedent(text)})
    return read_setup_py(str(root), "setup.py")


@pytest.mark.parametrize(
    ("text", "requires"),
    [
        ("setup(install_requires=['numpy', 'six'])", ["numpy", "six"]),
        ("setup(install_requires=('numpy',))", ["numpy"]),
        ("setup(install_requires='numpy\\nsix # x')", ["numpy", "six # x"]),
        ("A = ['numpy']\nsetup(install_requires=A + ['six'])", ["numpy", "six"]),
        ("A = ['numpy']\nA += ['six']\nsetup(install_requires=A)", ["numpy", "six"]),
        (
            "A = ['numpy']\nA.append('six')\nA.extend(['x'])\nsetup(install_requires=A)",
            ["numpy", "six", "x"],
        ),
        ("A = ['numpy']\nB = A\nB.append('six')\nsetup(install_requires=A)", ["numpy", "six"]),
        (
            "E = {'a': ['numpy']}\nE['b'] = E['a'] + ['six']\nsetup(install_requires=E['b'])",
            ["numpy", "six"],
        ),
        (
            "V = '1.2'\nsetup(install_requires=[f'numpy>={V}', 'a==%s' % V, 'b=={}'.format(V)])",
            ["numpy>=1.2", "a==1.2", "b==1.2"],
        ),
        ("setup(install_requires=[*['numpy'], 'six'])", ["numpy", "six"]),
        ("setup(install_requires='numpy six'.split())", ["numpy", "six"]),
        ("K = dict(install_requires=['numpy'])\nsetup(**K)", ["numpy"]),
        ("if __name__ == '__main__':\n    A = ['numpy']\n    setup(install_requires=A)", ["numpy"]),
        ("def main():\n    A = ['numpy']\n    setup(install_requires=A)\nmain()", ["numpy"]),
        ("setup(name=compute(), version=open('v').read(), packages=find_packages())", []),
        ("A: list = ['numpy']\nsetup(install_requires=A)", ["numpy"]),
        ("A = ['numpy']\nprint(A)\nsetup(install_requires=A)", ["numpy"]),
    ],
)
def test_constants(text: str, requires: list[str], tmp_path: Path) -> None:
    assert list(read(tmp_path, text).requires) == requires


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("setup(install_requires=open('r.txt').read().splitlines())", 2),
        ("setup(install_requires=[x for x in ['numpy']])", 2),
        ("A = f()\n\nsetup(install_requires=A)", 2),
        ("A = ['numpy']\nif f():\n    A.append('six')\nsetup(install_requires=A)", 4),
        ("A = ['numpy']\nfor x in f():\n    A += [x]\nsetup(install_requires=A)", 4),
        ("A = ['numpy']\nextend(A)\nsetup(install_requires=A)", 3),
        ("A = ['numpy']\nA.insert(0, 'six')\nsetup(install_requires=A)", 3),
        ("A = ['numpy']\ndel A[0]\nsetup(install_requires=A)", 3),
        ("with open('r') as f:\n    A = f.read()\nsetup(install_requires=A)", 3),
        ("from x import A\nsetup(install_requires=A)", 2),
        ("setup(**f())", 2),
        ("A = 'x' * 10**9\nsetup(install_requires=A)", 2),
        ("setup(install_requires=['%1000000000s' % 'x'])", 2),
        ("setup(install_requires=['{0.__class__}'.format('x')])", 2),
        ("setup(install_requires=['{:>1000000000}'.format('x')])", 2),
        ("setup(extras_require={':os_name==\"nt\"': ['x'], 'a': f()})", 2),
    ],
)
def test_what_is_computed_is_an_error_with_its_line(text: str, line: int, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=f"setup.py, line {line}: .* computed") as caught:
        read(tmp_path, text)
    assert "requirements.txt" in str(caught.value)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("x = 1", "it has no calls of setup"),
        ("setup()\nsetup()", "it has 2 calls of setup"),
        ("def (", "it is no Python"),
        ("setup(install_requires=3)", "is no list of requirements"),
        ("setup(install_requires=[3])", "is no list of requirements"),
        ("setup(extras_require=3)", "is no dict"),
        ("setup(install_requires=" + "(" * 300 + ")" * 300 + ")", "setup.py"),
        ("setup(install_requires=" + "+".join(["[]"] * 5000) + ")", "setup.py"),
    ],
)
def test_bad_input(text: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=message):
        read(tmp_path, text)


def test_all_that_matters(tmp_path: Path) -> None:
    found = read(
        tmp_path,
        """
        EXTRAS = {"plot": ["matplotlib"]}
        EXTRAS["all"] = EXTRAS["plot"] + ["six"]
        setup(name="x", python_requires=">=3.8", extras_require=EXTRAS, package_dir={"": "src"})
        """,
    )
    assert found == SetupCall(
        name="x",
        python=">=3.8",
        extras={"plot": ("matplotlib",), "all": ("matplotlib", "six")},
        package_dir={"": "src"},
    )


def test_nothing_is_run(tmp_path: Path) -> None:
    mark = tmp_path / "mark"
    text = f"""
    import os
    open({str(mark)!r}, "w").close()
    __import__("os").mkdir({str(mark)!r})
    A = ["numpy" + str(open({str(mark)!r}, "w"))]
    class C:
        open({str(mark)!r}, "w").close()
    setup(install_requires=["six"], name=open({str(mark)!r}, "w").name)
    """
    assert read(tmp_path, text).requires == ("six",)
    assert not mark.exists()


pieces = st.sampled_from(
    [
        "A",
        "=",
        "[",
        "]",
        "'x'",
        "+",
        "(",
        ")",
        ",",
        "\n",
        "setup",
        "install_requires=",
        "{",
        "}",
        ":",
        "*",
        "**",
        "f'{A}'",
        "%",
        ".format",
        ".append",
        "1",
        "if ",
        "for ",
        " in ",
        "def f():",
        "    ",
        "del ",
    ]
)


@settings(max_examples=300, deadline=None)
@given(st.lists(pieces, max_size=15).map("".join))
def test_any_text_is_read_or_refused(text: str) -> None:
    import tempfile

    with tempfile.TemporaryDirectory() as root:
        try:
            found = read(Path(root), text + "\nsetup(install_requires=A)\n")
        except UsageError:
            return
    assert all(isinstance(line, str) for line in found.requires)
