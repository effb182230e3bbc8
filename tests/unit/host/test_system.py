"""Base images that are built: the files for a Dockerfile, and what apt.txt may say."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from reprorun import held
from reprorun.engine.fake import FakeEngine, FakeProcess
from reprorun.errors import (
    BuildFailed,
    EngineError,
    EngineUnavailable,
    ImageMissing,
    UsageError,
)
from reprorun.model import BaseImage, Code, RunSpec
from reprorun.render import system_dockerfile
from reprorun.workflow.base import describe_base
from reprorun.workflow.keeper import utc_now
from reprorun.workflow.report import Silent
from reprorun.workflow.system import (
    Ignored,
    add_system_packages,
    build_dockerfile,
    find_dockerfile,
    read_apt,
)

from ...kit import FAKE_BASE
from .values import ANSWER, code

DOCKERFILE = "FROM base:1\n"


def engine(**fields: Any) -> FakeEngine:
    """It answers what Python it has, and which system packages."""

    def python(process: FakeProcess) -> int:
        process.say(json.dumps(ANSWER))
        return 0

    def packages(process: FakeProcess) -> int:
        process.say("zlib=1\ngcc=4:12\n")
        return 0

    programs = {"/bin/sh": python, "dpkg-query": packages, **fields.pop("programs", {})}
    return FakeEngine(images={"base:1": FAKE_BASE}, programs=programs, **fields)


# ---------------------------------------------------------------- .dockerignore


@pytest.mark.parametrize(
    ("patterns", "ignored", "kept"),
    [
        (["*.log"], ["a.log"], ["d/a.log", "a.logs", "log"]),
        (["**/*.log"], ["a.log", "d/a.log", "d/e/a.log"], ["a.txt"]),
        (["data"], ["data", "data/x", "data/d/x"], ["data2", "d/data"]),
        (["data/"], ["data/x"], ["database"]),
        (["/data"], ["data/x"], ["d/data"]),
        (["./data"], ["data/x"], []),
        (["d/*"], ["d/x", "d/e/x"], ["x"]),
        (["d/**"], ["d/x", "d/e/x"], ["x"]),
        (["**/data"], ["data", "d/data/x"], ["database"]),
        (["a?c"], ["abc"], ["ac", "a/c"]),
        (["[ab].txt"], ["a.txt", "b.txt"], ["c.txt"]),
        (["*"], ["a", "d/x"], []),
        (["*", "!keep.txt"], ["a"], ["keep.txt"]),
        (["*.txt", "!a.txt"], ["b.txt"], ["a.txt"]),
        (["!a.txt", "*.txt"], ["a.txt"], []),
        (["d", "!d/keep"], ["d/x"], ["d/keep", "d/keep/y"]),
        (["a.b"], ["a.b"], ["axb"]),
        (["a+b(c)"], ["a+b(c)"], ["aab(c)"]),
        ([], [], ["x"]),
    ],
)
def test_patterns(patterns: list[str], ignored: list[str], kept: list[str]) -> None:
    found = Ignored(patterns)
    assert [name for name in ignored if not found(name)] == []
    assert [name for name in kept if found(name)] == []


@pytest.mark.parametrize("pattern", ["[", "[a", "a]", "\\", "[]", "[!a]x", "(", "{a,b}", "**a"])
def test_odd_patterns_are_no_surprise(pattern: str) -> None:
    Ignored([pattern])("name")


# ---------------------------------------------------------------- --file


@pytest.fixture
def project(tmp_path: Path) -> Path:
    for name, text in {
        "Dockerfile": DOCKERFILE,
        "x.txt": "1",
        "secret.txt": "s",
        ".dockerignore": "# no secrets\n\nsecret*\n",
        "sub/Dockerfile.gpu": DOCKERFILE,
        "sub/y.txt": "2",
    }.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    return tmp_path


FILES = ("Dockerfile", "x.txt", "secret.txt", ".dockerignore", "sub/Dockerfile.gpu", "sub/y.txt")


def of(root: Path, **fields: Any) -> Code:
    return code(root.resolve(), **{"files": FILES, **fields})


def build(root: Path, name: str, on: FakeEngine, **fields: Any) -> str:
    spec = RunSpec(script="x.py", cwd=str(root), dockerfile=name, **fields)
    found = of(root)
    return build_dockerfile(find_dockerfile(spec, found), spec, found, on, Silent())


def test_equal_files_are_built_once(project: Path) -> None:
    fake = engine()
    tag = build(project, "Dockerfile", fake)
    assert build(project, "./Dockerfile", fake) == tag
    assert fake.builds == [tag]
    assert fake.images[tag].labels["reprorun.kind"] == "dockerfile"
    assert build(project, "Dockerfile", fake, rebuild=True) == tag
    assert len(fake.builds) == 2


@pytest.mark.parametrize(
    ("name", "again"),
    [("x.txt", True), ("Dockerfile", True), ("sub/y.txt", True), ("secret.txt", False)],
)
def test_a_change_is_built_where_the_context_holds_it(
    name: str, again: bool, project: Path
) -> None:
    fake = engine()
    before = build(project, "Dockerfile", fake)
    with (project / name).open("a") as file:
        file.write("\n# changed\n")
    assert (build(project, "Dockerfile", fake) != before) == again


def test_bits_of_execution_and_links_count(project: Path) -> None:
    fake = engine()
    tags = {build(project, "Dockerfile", fake)}
    (project / "x.txt").chmod(0o755)
    tags.add(build(project, "Dockerfile", fake))
    (project / "x.txt").unlink()
    (project / "x.txt").symlink_to("sub/y.txt")
    tags.add(build(project, "Dockerfile", fake))
    assert len(tags) == 3


def test_the_context_is_the_dockerfiles_directory(project: Path) -> None:
    fake = engine()
    before = build(project, "sub/Dockerfile.gpu", fake)
    (project / "x.txt").write_text("changed")
    assert build(project, "sub/Dockerfile.gpu", fake) == before


@pytest.mark.parametrize(
    ("cwd", "name"),
    [
        (".", "sub/Dockerfile.gpu"),
        (".", "./x/../sub/Dockerfile.gpu"),
        ("sub", "Dockerfile.gpu"),
        ("other", "../sub/Dockerfile.gpu"),
        ("sub", "{root}/sub/Dockerfile.gpu"),
    ],
)
def test_where_a_dockerfile_is_in_the_tree(cwd: str, name: str, project: Path) -> None:
    (project / "other").mkdir()
    (project / "x").mkdir()
    link = project / "x/link"
    link.symlink_to(project)
    for root in (project, link):
        named = name.format(root=root)
        spec = RunSpec(script="x.py", cwd=str(root / cwd), dockerfile=named)
        assert find_dockerfile(spec, code(root, files=FILES)) == "sub/Dockerfile.gpu"


@pytest.mark.parametrize("name", ["nowhere", "sub", "../Dockerfile", "/etc/passwd", ""])
def test_a_dockerfile_that_is_none(name: str, project: Path) -> None:
    with pytest.raises(UsageError, match="--file"):
        build(project, name, engine())


def test_a_dockerfile_that_the_record_would_not_keep(project: Path) -> None:
    (project / "ignored").write_text(DOCKERFILE)
    with pytest.raises(UsageError, match="not among the files"):
        build(project, "ignored", engine())


def test_a_link_out_of_the_repository(project: Path, tmp_path_factory: Any) -> None:
    outside = tmp_path_factory.mktemp("outside") / "Dockerfile"
    outside.write_text(DOCKERFILE)
    (project / "x.txt").unlink()
    (project / "x.txt").symlink_to(outside)
    with pytest.raises(UsageError, match="not among the files"):
        build(project, "x.txt", engine())


class Stricken(FakeEngine):
    """Its builder does not come to the end of a step."""

    def __init__(self, error: EngineError) -> None:
        super().__init__(images={"base:1": FAKE_BASE})
        self._error = error

    def build(self, context: Any, tag: str, progress: Any, *, network: bool = False) -> Any:
        for line in ("Step 2/2 : RUN make", " ---> Running in 0123456789ab", "made"):
            progress(line)
        raise self._error


@pytest.mark.parametrize(
    ("error", "step"),
    [(EngineUnavailable("away"), "0123456789ab"), (BuildFailed("exit code 2"), None)],
)
def test_an_engine_that_dies_in_a_step_leaves_its_container(
    error: EngineError, step: str | None, project: Path
) -> None:
    before = utc_now()
    with pytest.raises(type(error)):
        build(project, "Dockerfile", Stricken(error))
    left = held.take_over()
    assert [each.mark.step for each in left] == ([step] if step else [])
    for each in left:
        assert before <= each.mark.since <= utc_now()
        assert each.mark.engine is not None
        each.end()


def test_a_dockerfile_that_is_not_built_and_offline(project: Path) -> None:
    fake = engine()
    with pytest.raises(ImageMissing, match="--offline"):
        build(project, "Dockerfile", fake, offline=True)
    tag = build(project, "Dockerfile", fake)
    assert build(project, "Dockerfile", fake, offline=True) == tag


def test_a_dockerfile_that_fails(project: Path) -> None:
    with pytest.raises(BuildFailed, match="no space"):
        build(project, "Dockerfile", engine(refuse_build="no space"))


@pytest.mark.parametrize("ending", ["", "\n\n", "# comment", "RUN x"])
def test_our_labels_are_an_instruction_of_their_own(ending: str, project: Path) -> None:
    (project / "Dockerfile").write_text(DOCKERFILE + ending)
    fake = engine()
    tag = build(project, "Dockerfile", fake)
    assert fake.images[tag].labels["reprorun.kind"] == "dockerfile"


@pytest.mark.parametrize("content", [b"\xff\xfeFROM x\n", b"FROM base:1\n# caf\xe9\n"])
def test_a_dockerfile_that_is_no_text(content: bytes, project: Path) -> None:
    (project / "Dockerfile").write_bytes(content)
    with pytest.raises(UsageError, match="Dockerfile"):
        build(project, "Dockerfile", engine())


# ---------------------------------------------------------------- apt.txt


def apt(directory: Path, content: str | bytes) -> tuple[str, ...]:
    data = content.encode() if isinstance(content, str) else content
    (directory / "apt.txt").write_bytes(data)
    return read_apt(str(directory), "apt.txt")


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("gcc\n", ("gcc",)),
        ("", ()),
        ("# none\n\n", ()),
        ("libsndfile1  gcc # why\r\nffmpeg\ngcc\n", ("ffmpeg", "gcc", "libsndfile1")),
        ("gcc=4:12.2.0-3\ng++\nlib32z1:amd64\nxz=1~rc1+b2\n",
         ("g++", "gcc=4:12.2.0-3", "lib32z1:amd64", "xz=1~rc1+b2")),
    ],
)  # fmt: skip
def test_apt_txt(text: str, names: tuple[str, ...], tmp_path: Path) -> None:
    assert apt(tmp_path, text) == names


@pytest.mark.parametrize(
    "word",
    ["gcc;reboot", "$(reboot)", "`x`", "--allow-downgrades", "-o=x", "GCC", "gcc>=4", "&&", "x|y",
     "../x.deb", "/tmp/x.deb", "gcc\\", "é", "a", "gcc=", "gcc==4", '"gcc"', "x\x00y"],
)  # fmt: skip
def test_words_that_are_no_packages(word: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"apt\.txt, line 2: .* is no name"):
        apt(tmp_path, f"gcc\n{word}\n")


def test_apt_txt_that_can_not_be_read(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"apt\.txt can't be read"):
        read_apt(str(tmp_path), "apt.txt")
    with pytest.raises(UsageError, match=r"apt\.txt can't be read"):
        apt(tmp_path, b"gcc\xff\n")


def test_a_hostile_name_does_not_reach_a_dockerfile() -> None:
    from reprorun.errors import ReprorunError

    for name in ("x; reboot", "--x", "x\nRUN reboot", "$(x)"):
        with pytest.raises(ReprorunError):
            system_dockerfile("base:1", (name,), {})
    assert "install -y --no-install-recommends gcc g++ &&" in system_dockerfile(
        "base:1", ("gcc", "g++"), {}
    )


def added(fake: FakeEngine, *names: str, **fields: Any) -> BaseImage:
    base = describe_base("base:1", FAKE_BASE, fake)
    spec = RunSpec(script="x.py", cwd="/", **fields)
    return add_system_packages(base, names, spec, fake, Silent())


def test_system_packages() -> None:
    fake = engine()
    found = added(fake, "gcc")
    assert found.apt == ("gcc",)
    assert found.installed == ("gcc=4:12", "zlib=1")
    assert found.ref == "base:1"
    assert found.id != FAKE_BASE.id
    assert added(fake, "gcc") == found
    assert len(fake.builds) == 1
    assert added(fake, "gcc", "g++").id != found.id
    assert fake.containers == {}


def test_the_same_packages_are_the_same_environment_whatever_image_they_are_in() -> None:
    first = added(engine(), "gcc")
    fake = engine()
    found = added(fake, "gcc", rebuild=True)
    assert found.digest == first.digest

    def others(process: FakeProcess) -> int:
        process.say("zlib=2\ngcc=4:12\n")
        return 0

    import reprorun.files

    for path in Path(reprorun.files.cache_directory("bases")).glob("*.packages"):
        path.unlink()
    assert added(engine(programs={"dpkg-query": others}), "gcc").digest != first.digest


def test_packages_that_can_not_be_listed() -> None:
    def fail(process: FakeProcess) -> int:
        process.say("sh: dpkg-query: not found\n", "stderr")
        return 127

    with pytest.raises(BuildFailed, match="can't be listed: sh: dpkg-query"):
        added(engine(programs={"dpkg-query": fail}), "gcc")


def test_packages_that_are_not_installed_and_offline() -> None:
    fake = engine()
    with pytest.raises(ImageMissing, match="gcc are not installed yet, and --offline"):
        added(fake, "gcc", offline=True)
    added(fake, "gcc")
    assert added(fake, "gcc", offline=True).apt == ("gcc",)
