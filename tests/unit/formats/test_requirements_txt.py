"""requirements.txt and what it includes."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reprorun.errors import UsageError
from reprorun.formats.requirements_txt import logical_lines
from reprorun.model import Wanted

from . import trees
from .trees import COMMIT, SHA

A = '[project]\nname = "A.b"\nversion = "1"\ndependencies = ["six"]\n'
EXTRAS = '[project.optional-dependencies]\nx = ["attrs"]\nall = ["a-b[x]", "click"]\n'


def read(root: Path, text: str | bytes, **files: str | bytes) -> Wanted:
    given: dict[str, str | bytes] = {"requirements.txt": text, **files}
    return trees.wanted(root, "requirements", "requirements.txt", given)


@pytest.mark.parametrize(
    ("text", "lines"),
    [
        ("numpy", ["numpy"]),
        ("numpy==1.26.4\r\nscipy\r\n", ["numpy==1.26.4", "scipy"]),
        ("\ufeffnumpy\n", ["numpy"]),
        ("numpy # fast\n#scipy\n  # x\n", ["numpy"]),
        ("numpy \\\n  >=1.2, \\\n <2\n", ["numpy>=1.2, <2"]),
        ("numpy==1 \\\n# why\nscipy", ["numpy==1", "scipy"]),
        ("numpy\\", ["numpy"]),
        ("requests [ socks , Use_Chardet ] >= 2", ["requests[socks,use-chardet]>= 2"]),
        ('x>1;python_version<"3.9"', ['x>1 ; python_version<"3.9"']),
        ("x (>=1,<2)", ["x>=1,<2"]),
        ("x~=1.0 ; (os_name == 'nt')", ["x~=1.0 ; (os_name == 'nt')"]),
        (
            f"x==1 --hash=sha256:{SHA} --hash sha256:{SHA}",
            [f"x==1 --hash=sha256:{SHA} --hash=sha256:{SHA}"],
        ),
        ("x==1 \\\n    --hash=sha256:" + SHA, [f"x==1 --hash=sha256:{SHA}"]),
        ("x @ https://example.invalid/x-1.tar.gz", ["x @ https://example.invalid/x-1.tar.gz"]),
        (
            "x@https://example.invalid/x.zip ; os_name=='posix'",
            ["x @ https://example.invalid/x.zip ; os_name=='posix'"],
        ),
        (
            "https://example.invalid/x_y-1-py3-none-any.whl",
            ["x_y @ https://example.invalid/x_y-1-py3-none-any.whl"],
        ),
        (
            f"https://example.invalid/x-1.zip#sha256={SHA}",
            [f"x @ https://example.invalid/x-1.zip --hash=sha256:{SHA}"],
        ),
        ("https://example.invalid/archive/main.zip", ["https://example.invalid/archive/main.zip"]),
        (
            "https://u:${TOKEN}@example.invalid/x-1.zip",
            ["x @ https://u:${TOKEN}@example.invalid/x-1.zip"],
        ),
        (
            "git+https://example.invalid/x.git@v1#egg=x",
            ["x @ git+https://example.invalid/x.git@v1"],
        ),
        (
            "-e git+https://example.invalid/x@v1#egg=x[a]&subdirectory=b",
            ["x[a] @ git+https://example.invalid/x@v1#subdirectory=b"],
        ),
        (
            "--editable=git+ssh://git@example.invalid/x@v1#egg=x",
            ["x @ git+ssh://git@example.invalid/x@v1"],
        ),
        ("x @ git+https://example.invalid/x@v1", ["x @ git+https://example.invalid/x@v1"]),
        ("numpy\nnumpy\n", ["numpy"]),
        ("", []),
    ],
)
def test_lines(text: str, lines: list[str], tmp_path: Path) -> None:
    assert list(read(tmp_path, text).lines) == lines


@pytest.mark.parametrize("encoding", ["utf-16", "utf-8-sig"])
def test_files_that_windows_writes(encoding: str, tmp_path: Path) -> None:
    assert read(tmp_path, "numpy\r\nscipy\r\n".encode(encoding)).lines == ("numpy", "scipy")


@pytest.mark.parametrize(
    ("text", "options"),
    [
        ("-i https://example.invalid/s", ["--default-index", "https://example.invalid/s"]),
        ("--index-url=https://example.invalid/s", ["--default-index", "https://example.invalid/s"]),
        (
            "--extra-index-url https://u:${P}@example.invalid/s",
            [
                "--index",
                "https://u:${P}@example.invalid/s",
                "--index-strategy",
                "unsafe-best-match",
            ],
        ),
        ("-f https://example.invalid/l.html", ["--find-links", "https://example.invalid/l.html"]),
        ("--pre", ["--prerelease", "allow"]),
        ("--no-index", ["--no-index"]),
        ("--trusted-host example.invalid", ["--allow-insecure-host", "example.invalid"]),
        ("--only-binary :all:", ["--only-binary", ":all:"]),
        (
            "-i https://example.invalid/s --trusted-host example.invalid",
            [
                "--default-index",
                "https://example.invalid/s",
                "--allow-insecure-host",
                "example.invalid",
            ],
        ),
    ],
)
def test_options_as_uv_spells_them(text: str, options: list[str], tmp_path: Path) -> None:
    found = read(tmp_path, f"{text}\nnumpy\n")
    assert list(found.options) == options
    assert found.lines == ("numpy",)
    assert found.notes == ()


def test_uv_gets_each_flag_as_often_as_it_takes_it(tmp_path: Path) -> None:
    text = "".join(
        f"-i https://example.invalid/{n}\n--extra-index-url https://example.invalid/x{n}\n--pre\n"
        f"--no-index\n--trusted-host {n}\n"
        for n in "ab"
    )
    assert read(tmp_path, text).options == (
        *("--index", "https://example.invalid/xa", "--no-index", "--allow-insecure-host", "a"),
        *("--default-index", "https://example.invalid/b", "--index", "https://example.invalid/xb"),
        *("--index-strategy", "unsafe-best-match", "--prerelease", "allow"),
        *("--allow-insecure-host", "b"),
    )


@pytest.mark.parametrize(
    "text",
    [
        "--no-binary numpy",
        "--prefer-binary",
        "--use-feature=fast-deps",
        "--require-hashes",
        'numpy --global-option="x"',
        "numpy --config-settings a=b",
    ],
)
def test_what_is_not_followed_is_told(text: str, tmp_path: Path) -> None:
    found = read(tmp_path, f"{text}\nnumpy\n")
    assert found.lines == ("numpy",)
    [note] = found.notes
    assert note.startswith("requirements.txt, line 1: ")
    assert note.endswith("is not followed")


def test_includes_are_flattened(tmp_path: Path) -> None:
    found = read(
        tmp_path,
        "-r more/base.txt\n-c more/limits.txt\nscipy\n",
        **{
            "more/base.txt": "-rdeep.txt\nnumpy\n--requirement ../requirements.txt\n",
            "more/deep.txt": "six\n",
            "more/limits.txt": f"numpy<2 --hash=sha256:{SHA}\n-c limits2.txt\n",
            "more/limits2.txt": 'six==1 ; python_version > "3"\n',
        },
    )
    assert found.lines == ("six", "numpy", "scipy")
    assert found.constraints == ("numpy<2", 'six==1 ; python_version > "3"')
    assert found.files == (
        "requirements.txt",
        "more/base.txt",
        "more/deep.txt",
        "more/limits.txt",
        "more/limits2.txt",
    )


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("-r gone.txt", r"requirements\.txt, line 1: it includes gone\.txt"),
        ("numpy\n-c gone.txt", r"requirements\.txt, line 2: it includes gone\.txt"),
        ("-r ../x.txt", "outside the repository"),
        ("-r https://example.invalid/r.txt", "is not in the repository"),
        ("-r", "--requirement has no value"),
        ("--index-url", "--index-url has no value"),
        ("--frobnicate", "--frobnicate is no option"),
        ("-i 'x", "can't be read"),
        ("\n!!!", r"line 2: '!!!' is neither"),
        ("./gone", r"there is no \./gone"),
        ("-e ../other", "outside the repository"),
        ("/usr/lib", "outside the repository"),
        ("file:///usr/lib", "outside the repository"),
        ("./empty", "is no project"),
        ("-e .[nope]\n", "there is no extra 'nope'"),
        ("x @ ", "there is no address after x"),
        ("git+https://example.invalid/x", r"NAME @ git\+https://example\.invalid/x"),
        ("-c limits.txt", "a constraint is a name with versions"),
        ("-f ./nowhere", "no ./nowhere in the repository"),
        ("x\0y", "line 1: it holds a NUL"),
    ],
)
def test_bad_input(text: str, message: str, tmp_path: Path) -> None:
    files = {"empty/x": "", "pyproject.toml": A, "limits.txt": "./empty\n"}
    with pytest.raises(UsageError, match=message) as caught:
        read(tmp_path / "root", text, **files)
    assert str(tmp_path) not in str(caught.value)


def test_what_is_not_utf8(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"requirements\.txt, line 2: it is not UTF-8"):
        read(tmp_path, b"numpy\n# caf\xe9\n")


def test_a_link_that_leads_outside_is_not_read(tmp_path: Path) -> None:
    trees.plant(tmp_path, {"secret.txt": "numpy\n", "root/x": ""})
    (tmp_path / "root/more.txt").symlink_to(tmp_path / "secret.txt")
    with pytest.raises(UsageError, match="outside the repository"):
        read(tmp_path / "root", "-r more.txt\n")


@pytest.mark.parametrize(
    "text",
    ["-e ./libs/a", "./libs/a", "libs/a", "file:libs/a", "file:./libs/a", "a-b @ file:libs/a"],
)
def test_a_local_project_is_its_modules_and_its_dependencies(text: str, tmp_path: Path) -> None:
    found = read(tmp_path, text, **{"libs/a/pyproject.toml": A, "libs/a/src/": ""})
    assert found.lines == ("six",)
    assert found.paths == ("libs/a/src", "libs/a")
    assert found.files == ("requirements.txt", "libs/a/pyproject.toml")


def test_an_absolute_path_into_the_repository(tmp_path: Path) -> None:
    found = read(tmp_path, f"file://{tmp_path}/a%20b", **{"a b/pyproject.toml": A})
    assert found.paths == ("a b",)


def test_the_project_itself_with_extras(tmp_path: Path) -> None:
    found = read(tmp_path, "-e .[all]", **{"pyproject.toml": A + EXTRAS})
    assert set(found.lines) == {"six", "attrs", "click"}
    assert found.paths == (".",)


def test_a_name_that_is_a_local_project_means_it(tmp_path: Path) -> None:
    other = '[project]\nname = "o"\nversion = "1"\ndependencies = ["a_b[x]>=1", "idna"]\n'
    files = {"a/pyproject.toml": A + EXTRAS, "o/pyproject.toml": other}
    found = read(tmp_path, "./o\n./a\n", **files)
    assert set(found.lines) == {"six", "attrs", "idna"}
    assert found.paths == ("o", "a")


def test_local_projects_that_need_each_other(tmp_path: Path) -> None:
    files = {
        "a/pyproject.toml": '[project]\nname="a"\ndependencies=["b @ file:../b", "six"]\n',
        "b/pyproject.toml": '[project]\nname="b"\ndependencies=["a @ file:../a", "idna"]\n',
    }
    found = read(tmp_path, "./a\n", **files)
    assert found.lines == ("six", "idna")
    assert found.paths == ("a", "b")


def test_a_local_project_for_another_platform(tmp_path: Path) -> None:
    found = read(tmp_path, "./a ; sys_platform == 'win32'\n", **{"a/pyproject.toml": A})
    assert found.lines == found.paths == ()


def test_local_paths_are_relative_to_where_pip_runs(tmp_path: Path) -> None:
    files = {"pyproject.toml": A, "needs/base.txt": "-e .\n"}
    assert read(tmp_path, "-r needs/base.txt\n", **files).paths == (".",)


def test_a_wheel_and_links_in_the_repository(tmp_path: Path) -> None:
    text = "-f wheels\n./wheels/My_Pkg-1-py3-none-any.whl\nwheels/x-1.0.tar.gz\n"
    files = {"wheels/My_Pkg-1-py3-none-any.whl": "", "wheels/x-1.0.tar.gz": ""}
    found = read(tmp_path, text, **files)
    assert found.options == ("--find-links", f"{tmp_path}/wheels")
    assert found.lines == (
        f"My_Pkg @ file://{tmp_path}/wheels/My_Pkg-1-py3-none-any.whl",
        f"x @ file://{tmp_path}/wheels/x-1.0.tar.gz",
    )


def test_a_commit_is_kept(tmp_path: Path) -> None:
    line = f"x @ git+https://example.invalid/x@{COMMIT}"
    assert read(tmp_path, line).lines == (line,)


words = st.sampled_from(
    [
        "numpy",
        "-r",
        "-c",
        "-e",
        "-i",
        "--hash=sha256:",
        "@",
        "git+",
        "file:",
        "./",
        "..",
        "[",
        "]",
        ";",
        "#",
        "\\\n",
        "\n",
        " ",
        "\r",
        "\0",
        '"',
        "'",
        "==",
        "https://[",
        "${X}",
        "\u2028",
        "-",
        "=",
        "requirements.txt",
        "https://",
        "%",
        "&egg=",
        "os_name == 'nt'",
    ]
)


@settings(max_examples=400, deadline=None)
@given(text=st.one_of(st.text(max_size=60), st.lists(words, max_size=12).map("".join)))
def test_any_text_is_read_or_refused(text: str, tmp_path_factory: pytest.TempPathFactory) -> None:
    root = tmp_path_factory.getbasetemp() / "any"
    try:
        found = read(root, text.encode("utf-8", "surrogatepass"))
    except UsageError:
        return
    assert all("\n" not in line for line in found.lines)


@given(st.lists(st.from_regex(r"[a-z]{1,5}(==[0-9]{1,2})?", fullmatch=True), max_size=6))
def test_plain_lines_come_out_as_they_are(lines: list[str]) -> None:
    text = "  # x\n\n".join(f"{line} \\\n  # why\n" for line in lines)
    assert [line for _, line in logical_lines(text)] == lines
