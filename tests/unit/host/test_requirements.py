"""Which file says what packages an experiment needs."""

from __future__ import annotations

from pathlib import Path

import pytest

from reprorun.errors import UsageError
from reprorun.formats.tree import relative
from reprorun.model import Requirements
from reprorun.probe.requirements import find_requirements

from . import values

PROJECT = '[project]\nname = "x"\nversion = "1"\ndependencies = ["numpy"]\n'
TOOLS = "[tool.ruff]\nline-length = 100\n"


POETRY = '[tool.poetry]\nname = "x"\n[tool.poetry.dependencies]\npython = "^3.9"\n'
SETUP = "from setuptools import setup\nsetup(package_dir={'': 'lib'}, python_requires='>=3.7')\n"
MEMBER = '[[package]]\nname = "m"\nversion = "1"\nsource = { editable = "libs/m" }\n'
WORKSPACE = 'version = 1\nrequires-python = ">=3.10"\n' + MEMBER


def find(root: Path, launcher: str, files: dict[str, str], lock: str | None = None) -> Requirements:
    for name, text in {launcher: "", **files}.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    return find_requirements(values.code(root, launcher=launcher), lock)


@pytest.mark.parametrize(
    ("launcher", "files", "source"),
    [
        ("train.py", {}, None),
        ("train.py", {"requirements.txt": ""}, "requirements.txt"),
        ("a/b/train.py", {"requirements.txt": ""}, "requirements.txt"),
        ("a/train.py", {"b/requirements.txt": ""}, None),
        ("a/train.py", {"a/requirements.txt": "", "requirements.txt": ""}, "a/requirements.txt"),
        ("a/train.py", {"a/pyproject.toml": PROJECT, "requirements.txt": ""}, "a/pyproject.toml"),
        ("train.py", {"pyproject.toml": PROJECT, "requirements.txt": ""}, "requirements.txt"),
        ("train.py", {"pyproject.toml": PROJECT}, "pyproject.toml"),
        ("train.py", {"pyproject.toml": TOOLS}, None),
        ("a/train.py", {"a/pyproject.toml": TOOLS, "pyproject.toml": PROJECT}, "pyproject.toml"),
        ("a/train.py", {"a/pyproject.toml": "", "requirements.txt": ""}, "requirements.txt"),
    ],
)
def test_the_nearest_wins(
    launcher: str, files: dict[str, str], source: str | None, tmp_path: Path
) -> None:
    assert find(tmp_path, launcher, files).source == source


def test_nothing_above_the_root_counts(tmp_path: Path) -> None:
    (tmp_path / "requirements.txt").write_text("numpy\n")
    assert find(tmp_path / "project", "train.py", {"x": ""}) == Requirements()


def test_a_directory_of_that_name_is_none(tmp_path: Path) -> None:
    assert find(tmp_path, "train.py", {"requirements.txt/x": ""}) == Requirements()


@pytest.mark.parametrize(
    ("launcher", "files", "paths"),
    [
        ("train.py", {"pyproject.toml": PROJECT}, (".",)),
        ("train.py", {"pyproject.toml": PROJECT, "src/x/__init__.py": ""}, ("src", ".")),
        ("a/b/t.py", {"a/pyproject.toml": PROJECT}, ("a",)),
        ("a/b/t.py", {"a/pyproject.toml": PROJECT, "a/src/x.py": "", "src/y": ""}, ("a/src", "a")),
        ("a/b/t.py", {"a/requirements.txt": "", "a/src/x.py": ""}, ()),
    ],
)
def test_the_projects_own_modules_can_be_imported(
    launcher: str, files: dict[str, str], paths: tuple[str, ...], tmp_path: Path
) -> None:
    assert find(tmp_path, launcher, files).paths == paths


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('[project]\nname = "x"\ndynamic = ["version", "dependencies"]\n', "are dynamic"),
        ("[project\n", "can't be read"),
        ("project = 1\n", "is not what a pyproject.toml holds"),
        ("[project]\ndynamic = 3\n", "is not what a pyproject.toml holds"),
    ],
)
def test_projects_that_say_nothing_usable(text: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=message) as caught:
        find(tmp_path, "a/train.py", {"a/pyproject.toml": text})
    assert "a/pyproject.toml" in str(caught.value)


IN_ORDER = [
    ("uv.lock", "uv-lock", "version = 1\n"),
    ("pylock.toml", "pylock", 'lock-version = "1.0"\n'),
    ("poetry.lock", "poetry-lock", ""),
    ("Pipfile.lock", "pipfile-lock", "{}"),
    ("requirements.txt", "requirements", ""),
    ("pyproject.toml", "project", PROJECT),
    ("setup.py", "setup", SETUP),
    ("setup.cfg", "setup", "[options]\n"),
    ("environment.yml", "conda", "name: x\n"),
    ("environment.yaml", "conda", "name: x\n"),
]


@pytest.mark.parametrize("first", range(len(IN_ORDER)))
def test_the_order_in_one_directory(first: int, tmp_path: Path) -> None:
    files = {f"a/{name}": text for name, _, text in IN_ORDER[first:]}
    found = find(tmp_path, "a/b/train.py", files)
    assert (found.source, found.kind) == (f"a/{IN_ORDER[first][0]}", IN_ORDER[first][1])


def test_settings_of_tools_say_nothing(tmp_path: Path) -> None:
    files = {"setup.cfg": "[flake8]\nmax-line-length = 100\n", "pyproject.toml": TOOLS}
    assert find(tmp_path, "train.py", files) == Requirements()


@pytest.mark.parametrize(
    ("files", "paths"),
    [
        ({"uv.lock": "version = 1\n", "pyproject.toml": PROJECT, "src/x.py": ""}, ("src", ".")),
        ({"uv.lock": "version = 1\n", "pyproject.toml": TOOLS, "src/x.py": ""}, ()),
        ({"poetry.lock": "", "pyproject.toml": POETRY}, (".",)),
        ({"pylock.toml": "", "setup.py": SETUP, "lib/x.py": ""}, ("lib", ".")),
        ({"Pipfile.lock": "{}", "pyproject.toml": PROJECT}, ()),
        ({"requirements.txt": "", "pyproject.toml": PROJECT}, ()),
        ({"setup.py": SETUP, "lib/x.py": ""}, ("lib", ".")),
        ({"setup.py": SETUP}, (".",)),
        ({"setup.cfg": "[options]\npackage_dir =\n  = py\n", "py/x.py": ""}, ("py", ".")),
        (
            {
                "pyproject.toml": f'{PROJECT}[tool.setuptools.package-dir]\n"" = "py"\n',
                "py/x.py": "",
            },
            ("py", "."),
        ),
        (
            {
                "pyproject.toml": f'{PROJECT}[tool.setuptools.packages.find]\nwhere = ["../y"]\n',
            },
            (".",),
        ),
    ],
)
def test_where_modules_lie(files: dict[str, str], paths: tuple[str, ...], tmp_path: Path) -> None:
    assert find(tmp_path, "train.py", files).paths == paths


@pytest.mark.parametrize(
    ("member", "kind", "source"),
    [
        ("libs/m", "uv-lock", "uv.lock"),
        ("libs/other", "project", "libs/other/pyproject.toml"),
    ],
)
def test_the_lock_of_a_workspace_counts_for_its_members(
    member: str, kind: str, source: str, tmp_path: Path
) -> None:
    files = {"uv.lock": WORKSPACE, "pyproject.toml": TOOLS, f"{member}/pyproject.toml": PROJECT}
    found = find(tmp_path, f"{member}/scripts/train.py", files)
    assert (found.kind, found.source, found.paths) == (kind, source, (member,))


@pytest.mark.parametrize(
    ("lock", "kind"),
    [
        ("requirements.lock", "lock"),
        ("old/anything.txt", "lock"),
        ("old/uv.lock", "uv-lock"),
        ("pylock.gpu.toml", "pylock"),
        ("old/poetry.lock", "poetry-lock"),
        ("old/Pipfile.lock", "pipfile-lock"),
    ],
)
def test_a_lock_that_is_named(lock: str, kind: str, tmp_path: Path) -> None:
    text = {"uv-lock": "version = 1\n", "pipfile-lock": "{}"}.get(kind, "")
    files = {lock: text, "requirements.txt": "numpy\n", "pyproject.toml": PROJECT}
    for named in (lock, str(tmp_path / lock)):
        found = find(tmp_path, "train.py", files, named)
        assert (found.kind, found.source, found.paths) == (kind, lock, (".",))


def test_a_lock_outside_the_repository(tmp_path: Path) -> None:
    (tmp_path / "requirements.lock").write_text("")
    found = find(tmp_path / "project", "train.py", {}, str(tmp_path / "requirements.lock"))
    assert (found.kind, found.source) == ("lock", str(tmp_path / "requirements.lock"))


def test_a_lock_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"there is no lock 'x\.lock'"):
        find(tmp_path, "train.py", {}, "x.lock")


@pytest.mark.parametrize(
    ("files", "python", "required", "source"),
    [
        ({".python-version": "3.9\n"}, "3.9", None, ".python-version"),
        ({".python-version": "# why\n\n3.10.4  # x\n3.8\n"}, "3.10", None, ".python-version"),
        ({".python-version": "cpython-3.12.1\n"}, "3.12", None, ".python-version"),
        ({".python-version": "3.9.7/envs/x\n"}, "3.9", None, ".python-version"),
        ({".python-version": "system\n"}, None, None, None),
        ({"runtime.txt": "python-3.9.7\n"}, "3.9", None, "runtime.txt"),
        (
            {"runtime.txt": "python-3.9.7", ".python-version": "3.11"},
            "3.11",
            None,
            ".python-version",
        ),
        (
            {"runtime.txt": "python-3.9", "a/.python-version": "3.11"},
            "3.11",
            None,
            "a/.python-version",
        ),
        (
            {"pyproject.toml": PROJECT + 'requires-python = ">=3.9"'},
            None,
            ">=3.9",
            "pyproject.toml",
        ),
        (
            {"pyproject.toml": PROJECT + 'requires-python = ">=3.9"', ".python-version": "3.9"},
            "3.9",
            ">=3.9",
            ".python-version",
        ),
        (
            {"pyproject.toml": PROJECT + 'requires-python = ">=3.9"', "requirements.txt": ""},
            None,
            ">=3.9",
            "pyproject.toml",
        ),
        ({"pyproject.toml": POETRY}, None, ">=3.9,<4.0", "pyproject.toml"),
        (
            {"pyproject.toml": POETRY.replace("^3.9", "~2.7 || ^3.6")},
            None,
            ">=3.6,<4.0",
            "pyproject.toml",
        ),
        ({"setup.cfg": "[options]\npython_requires = >=3.8\n"}, None, ">=3.8", "setup.cfg"),
        ({"setup.py": SETUP}, None, ">=3.7", "setup.py"),
        ({"uv.lock": WORKSPACE}, None, ">=3.10", "uv.lock"),
        (
            {"poetry.lock": '[metadata]\npython-versions = "^3.8"\n'},
            None,
            ">=3.8,<4.0",
            "poetry.lock",
        ),
        (
            {"Pipfile.lock": '{"_meta": {"requires": {"python_version": "3.9"}}}'},
            "3.9",
            None,
            "Pipfile.lock",
        ),
        ({"environment.yml": "dependencies: [python=3.9.7, pip]"}, "3.9", None, "environment.yml"),
        (
            {"environment.yml": "dependencies: ['python>=3.9,<3.12']"},
            None,
            ">=3.9,<3.12",
            "environment.yml",
        ),
        (
            {"environment.yml": "dependencies: ['python[version=\">=3.9\"]']"},
            None,
            ">=3.9",
            "environment.yml",
        ),
        (
            {"environment.yml": "dependencies: ['python~=3.9.2']"},
            "3.9",
            "~=3.9.2",
            "environment.yml",
        ),
        (
            {"environment.yml": "dependencies: [python=2.7]"},
            None,
            "==2.7.*",
            "environment.yml",
        ),
        ({"environment.yml": "dependencies: [python]"}, None, None, None),
        (
            {
                "environment.yml": "dependencies: ['python>=3.9']",
                "pyproject.toml": '[project]\nname = "x"\nversion = "1"\nrequires-python = ">=3.8"',
                ".python-version": "3.10",
            },
            "3.10",
            ">=3.8",
            ".python-version",
        ),
        ({"other/.python-version": "3.9"}, None, None, None),
    ],
)
def test_which_python(
    files: dict[str, str],
    python: str | None,
    required: str | None,
    source: str | None,
    tmp_path: Path,
) -> None:
    found = find(tmp_path, "a/train.py", files)
    assert (found.python, found.requires_python, found.python_source) == (python, required, source)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        (".python-version", "pypy3.9-7.3.11\n"),
        (".python-version", "2.7.18"),
        (".python-version", "myenv"),
        ("runtime.txt", "3.9"),
        ("pyproject.toml", PROJECT + 'requires-python = ">=x"'),
        ("pyproject.toml", PROJECT + "requires-python = 3"),
    ],
)
def test_pythons_that_can_not_be_had(name: str, text: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError) as caught:
        find(tmp_path, "train.py", {name: text})
    assert name in str(caught.value)


@pytest.mark.parametrize(
    ("asked", "python", "required"),
    [
        ("~=3.10.4", None, "~=3.10.4"),
        (">=3.11.2,<3.12", None, ">=3.11.2,<3.12"),
        (">=3.8.1,<3.9", None, ">=3.8.1,<3.9"),
        ("==3.7.*", None, "==3.7.*"),
        (">=3.20", None, ">=3.20"),
        ("==3.10.12", "3.10", "==3.10.12"),
        (">=3.9.2,<3.10.5,!=3.9.*", "3.10", ">=3.9.2,<3.10.5,!=3.9.*"),
        ("<3.10.5", None, "<3.10.5"),
    ],
)
def test_every_single_range_of_python_is_kept(
    asked: str, python: str | None, required: str, tmp_path: Path
) -> None:
    found = find(tmp_path, "t.py", {"pyproject.toml": f'{PROJECT}requires-python = "{asked}"'})
    assert (found.python, found.requires_python, found.notes) == (python, required, ())
    assert found.requires_python_source == "pyproject.toml"


@pytest.mark.parametrize(
    ("asked", "required"),
    [
        ("~2.7 || ~3.10.4", ">=3.10.4,<3.11"),
        ("3.9.7 || ~2.7", "==3.9.7"),
        ("~2.7 || ~3.6", ">=3.6,<3.7"),  # of none are there images: that is said later
    ],
)
def test_of_alternatives_the_only_one_that_will_do(
    asked: str, required: str, tmp_path: Path
) -> None:
    found = find(tmp_path, "t.py", {"pyproject.toml": POETRY.replace("^3.9", asked)})
    assert (found.requires_python, found.notes) == (required, ())


def test_several_ranges_of_python_are_told(tmp_path: Path) -> None:
    found = find(tmp_path, "t.py", {"pyproject.toml": POETRY.replace("^3.9", "3.8.* || ^3.10")})
    assert found.requires_python is None
    assert "several ranges" in found.notes[0]


@pytest.mark.parametrize(
    ("files", "found"),
    [
        ({"apt.txt": "x\n"}, "apt.txt"),
        ({"apt.txt": "x\n", "a/apt.txt": "y\n"}, "a/apt.txt"),
        ({"b/apt.txt": "x\n"}, None),
    ],
)
def test_system_packages(files: dict[str, str], found: str | None, tmp_path: Path) -> None:
    assert find(tmp_path, "a/train.py", files).system_packages == found


def test_links_out_of_the_repository_are_not_followed(tmp_path: Path) -> None:
    (tmp_path / "outside").mkdir()
    for name in ("requirements.txt", ".python-version", "apt.txt"):
        (tmp_path / "outside" / name).write_text("3.9\n")
    (tmp_path / "project").mkdir()
    for name in ("requirements.txt", ".python-version", "apt.txt"):
        (tmp_path / "project" / name).symlink_to(tmp_path / "outside" / name)
    assert find(tmp_path / "project", "train.py", {}) == Requirements()


def test_without_any_file_imports_tell(tmp_path: Path) -> None:
    found = find(tmp_path, "train.py", {"train.py": "import msgspec\n", ".python-version": "3.12"})
    assert (found.kind, found.source, found.python) == ("imports", None, "3.12")
    assert [line.split("==")[0] for line in found.lines] == ["msgspec"]


def test_another_dynamic_field_is_fine(tmp_path: Path) -> None:
    text = '[project]\nname = "x"\ndynamic = ["version"]\ndependencies = []\n'
    assert find(tmp_path, "train.py", {"pyproject.toml": text}).source == "pyproject.toml"


@pytest.mark.parametrize("path", ["a\ud800b", "a\0b", "../other", "/etc/passwd"])
def test_a_path_that_is_none_of_the_repository(path: str, tmp_path: Path) -> None:
    assert relative(str(tmp_path), path) is None
    assert relative(str(tmp_path), "a\udc80b/c") == "a\udc80b/c"  # bytes that are not UTF-8
