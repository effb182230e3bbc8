"""Exports: what others read of a record, and that nothing in a record leads out of it."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from reprorun import store
from reprorun.cli import run
from reprorun.errors import RecordError, UsageError
from reprorun.export import files as export_files
from reprorun.export.slsa import PREDICATE, STATEMENT
from reprorun.model import (
    Archive,
    EngineUsed,
    InputFile,
    Output,
    Package,
    Record,
    RemoteFile,
    SchemaMark,
)
from reprorun.workflow.export import export_crate, export_statement

from . import values

Capture = pytest.CaptureFixture[str]
VALIDATOR = Path(__file__).parents[2] / "validate_crate.py"
CODE = b"the archive"
ODD = os.fsdecode(b"outputs/\xff \n.bin")
CONTENTS = {"outputs/model.bin": b"weights", "notes é.txt": b"", ODD: b"odd"}


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def full_record(**fields: Any) -> Record:
    given: dict[str, Any] = {
        "reprorun": SchemaMark(version="1.2.3"),
        "id": "0123456789abcdef",
        "started": "2024-03-31T12:34:56.789012+00:00",
        "ended": "2024-03-31T14:35:00.000001+02:00",
        "command": ("python", "train.py", "--lr", "0.1"),
        "params": {"lr": 0.1, "layers": [1, 2]},
        "environment": {"A": "1", "HF_TOKEN": "<redacted>"},
        "githash": values.COMMIT + "-dirty",
        "dirty": True,
        "launcher": "train.py",
        "archive": Archive(sha256=sha256(CODE), size=len(CODE), files=1),
        "inputs": (InputFile(path="/data/x", target="/data/x", size=3, sha256="c" * 64),),
        "packages": (
            Package(
                name="numpy",
                version="1.26.2",
                wheel=RemoteFile(name="numpy-1.26.2-py3-none-any.whl", sha256="a" * 64),
            ),
        ),
        "base_image": values.BASE,
        "engine": EngineUsed(name="docker", version="20.10", api_version="1.41"),
        "outputs": tuple(
            Output(path=path, size=len(data), sha256=sha256(data))
            for path, data in CONTENTS.items()
        ),
    }
    return values.record(**{**given, **fields})


def plain_outputs() -> tuple[Output, ...]:
    """Without the one whose name is not UTF-8, which neither zip files nor the validator take."""
    return tuple(output for output in full_record().outputs if output.path != ODD)


def kept(directory: str = "run", **fields: Any) -> str:
    """A record with all of its files."""
    for name, data in {**CONTENTS, store.ARCHIVE_FILE: CODE, "console.log": b"hello\n"}.items():
        path = Path(directory, name)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    store.write_record(directory, full_record(**fields))
    return directory


def tree(directory: str | Path) -> dict[str, bytes]:
    found = Path(directory).rglob("*")
    return {str(path.relative_to(directory)): path.read_bytes() for path in found if path.is_file()}


def graph(crate: str) -> dict[str, Any]:
    data = json.loads(Path(crate, "ro-crate-metadata.json").read_text())
    assert data["@context"] == [
        "https://w3id.org/ro/crate/1.1/context",
        "https://w3id.org/ro/terms/workflow-run/context",
    ]
    entities = {entity["@id"]: entity for entity in data["@graph"]}
    assert len(entities) == len(data["@graph"])
    return entities


# ---------------------------------------------------------------- the crate


def test_a_crate_is_the_record_and_its_description() -> None:
    log_dir = kept()
    before = tree(log_dir)
    assert export_crate(log_dir, None) == "run.crate"
    made = tree("run.crate")
    del made["ro-crate-metadata.json"]
    assert made == before == tree(log_dir)
    assert store.read_record("run.crate") == store.read_record(log_dir)
    assert sorted(os.listdir()) == ["run", "run.crate"]


def test_what_a_crate_says() -> None:
    export_crate(kept(), None)
    found = graph("run.crate")
    root, action = found["./"], found["#run-0123456789abcdef"]
    assert root["conformsTo"] == {"@id": "https://w3id.org/ro/wfrun/process/0.5"}
    assert found[root["conformsTo"]["@id"]]["@type"] == "CreativeWork"
    assert {"@id": action["@id"]} in root["mentions"]
    assert {part["@id"] for part in root["hasPart"]} == {
        *("run.json", "launch_archive.tar.xz", "console.log"),
        *("outputs/model.bin", "notes%20%C3%A9.txt", "outputs/%FF%20%0A.bin"),
    }
    assert action["@type"] == "CreateAction"
    assert action["startTime"] == "2024-03-31T12:34:56.789+00:00"
    assert action["endTime"] == "2024-03-31T12:35:00.000+00:00"
    assert action["actionStatus"] == "http://schema.org/CompletedActionStatus"
    assert "error" not in action
    assert "agent" not in action  # nobody knows
    assert [entry["@id"] for entry in action["object"]] == [
        *("launch_archive.tar.xz", "#input-1", "#param-lr", "#param-layers"),
    ]
    assert [entry["@id"] for entry in action["result"]] == [
        *("outputs/model.bin", "notes%20%C3%A9.txt", "outputs/%FF%20%0A.bin"),
    ]
    assert action["instrument"] == {"@id": "#launcher"}
    assert "train.py --lr 0.1" in action["description"]


def test_the_entities_of_a_crate() -> None:
    export_crate(kept(), None)
    found = graph("run.crate")
    launcher = found["#launcher"]
    assert launcher["@type"] == "SoftwareApplication"
    assert (launcher["name"], launcher["version"]) == ("train.py", values.COMMIT + "-dirty")
    needed = [entry["@id"] for entry in launcher["softwareRequirements"]]
    assert needed == ["#python", "pkg:pypi/numpy@1.26.2"]
    assert found["#python"]["softwareVersion"] == "3.11.2"
    assert found["pkg:pypi/numpy@1.26.2"]["softwareVersion"] == "1.26.2"
    assert found["#engine"]["name"] == "docker"
    assert found["#param-lr"]["value"] == 0.1
    assert found["#param-layers"]["value"] == "[1, 2]"
    assert found["#env-HF_TOKEN"]["value"] == "<redacted>"
    assert found["#input-1"]["sha256"] == "c" * 64
    output = found["outputs/model.bin"]
    assert (output["@type"], output["contentSize"]) == ("File", "7")
    assert output["sha256"] == sha256(b"weights")
    assert found["outputs/%FF%20%0A.bin"]["name"] == "\\udcff \n.bin"


@pytest.mark.parametrize(
    ("ref", "repo_digest", "expected"),
    [
        ("python:3.11-slim", None, {"name": "python", "tag": "3.11-slim"}),
        (
            "python",
            "python@sha256:" + "1" * 64,
            {"name": "python", "registry": "docker.io", "sha256": "1" * 64},
        ),
        (
            "127.0.0.1:5000/lab/base:7@sha256:" + "2" * 64,
            "127.0.0.1:5000/lab/base@sha256:" + "2" * 64,
            {"registry": "127.0.0.1:5000", "name": "lab/base", "tag": "7", "sha256": "2" * 64},
        ),
    ],
)
def test_the_image_of_a_crate(ref: str, repo_digest: str | None, expected: dict[str, str]) -> None:
    base = {"ref": ref, "repo_digest": repo_digest}
    export_crate(kept(base_image=values.BASE.__class__(**{**as_fields(values.BASE), **base})), None)
    image = graph("run.crate")["#base-image"]
    assert image["@type"] == "ContainerImage"
    assert image["additionalType"]["@id"] == "https://w3id.org/ro/terms/workflow-run#DockerImage"
    told = {key: image[key] for key in ("registry", "name", "tag", "sha256") if key in image}
    assert told == expected


def as_fields(value: Any) -> dict[str, Any]:
    return {name: getattr(value, name) for name in value.__struct_fields__}


@pytest.mark.parametrize(
    ("fields", "error"),
    [
        ({"status": "failed", "exit_code": 3}, "exit code 3"),
        ({"status": "lost", "exit_code": None, "reason": "the machine died"}, "the machine died"),
        ({"status": "interrupted", "exit_code": 130, "reason": "by you"}, "by you"),
    ],
)
def test_a_run_that_failed(fields: dict[str, Any], error: str) -> None:
    export_crate(kept(**fields), None)
    action = graph("run.crate")["#run-0123456789abcdef"]
    assert action["actionStatus"] == "http://schema.org/FailedActionStatus"
    assert action["error"] == error


@pytest.mark.parametrize("status", ["created", "building", "running"])
@pytest.mark.parametrize("form", ["ro-crate", "slsa"])
def test_a_run_that_has_not_ended(status: str, form: str, capsys: Capture) -> None:
    assert run(["export", kept(status=status), "--format", form]) == 2
    assert f"is {status}" in capsys.readouterr().err
    assert os.listdir() == ["run"]


def test_the_same_record_makes_the_same_crate() -> None:
    log_dir = kept()
    export_crate(log_dir, "one")
    export_crate(log_dir, "two")
    assert tree("one") == tree("two")


def test_a_crate_in_a_zip_file() -> None:
    log_dir = kept(outputs=plain_outputs())
    export_crate(log_dir, "a.crate")
    export_crate(log_dir, "one.zip")
    export_crate(log_dir, "two.zip")
    assert Path("one.zip").read_bytes() == Path("two.zip").read_bytes()
    with zipfile.ZipFile("one.zip") as archive:
        assert {name: archive.read(name) for name in archive.namelist()} == tree("a.crate")


def test_a_name_that_no_zip_file_holds() -> None:
    with pytest.raises(UsageError, match="Export to a directory"):
        export_crate(kept(), "x.zip")
    assert os.listdir() == ["run"]


def test_a_run_that_left_a_crates_description_itself() -> None:
    Path("run").mkdir()
    Path("run/ro-crate-metadata.json").write_bytes(b"{}")
    output = Output(path="ro-crate-metadata.json", size=2, sha256=sha256(b"{}"))
    with pytest.raises(UsageError, match="of its own"):
        export_crate(kept(outputs=(output,)), None)


# ---------------------------------------------------------------- validation


def issues(crate: str, severity: str) -> list[str]:
    """What the validator of the profile finds."""
    command = [sys.executable, str(VALIDATOR), crate, severity]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    found: list[str] = json.loads(done.stdout)
    return found


UNKNOWN = (  # recommended, but a record does not know it
    "The Application SHOULD have a url",
    "The SoftwareApplication id SHOULD be an absolute URI",
    "The Action SHOULD have an agent",
    "The ContainerImage SHOULD have a registry",
    "The Root Data Entity SHOULD have a link to a Contextual Entity representing the schema_org:",
    "The Root Data Entity SHOULD have a link to a Contextual Entity representing the `author`",
    "The `publisher` property of a `Root Data Entity`",
)


@pytest.fixture
def _validator(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    import warnings

    monkeypatch.setenv("XDG_CACHE_HOME", str(Path("cache").absolute()))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the validator's own
        yield


@pytest.mark.usefixtures("_validator")
@pytest.mark.parametrize("fields", [{}, {"status": "failed", "exit_code": 1}])
def test_the_profiles_validator_passes_a_crate(fields: dict[str, Any]) -> None:
    export_crate(kept(outputs=plain_outputs(), **fields), None)
    assert issues("run.crate", "REQUIRED") == []
    recommended = issues("run.crate", "RECOMMENDED")
    assert [each for each in recommended if not each.startswith(UNKNOWN)] == []


@pytest.mark.usefixtures("_validator")
def test_the_validator_would_say_what_is_missing() -> None:
    export_crate(kept(outputs=plain_outputs()), None)
    path = Path("run.crate/ro-crate-metadata.json")
    path.write_text(path.read_text().replace('"instrument"', '"about"'))
    (found,) = issues("run.crate", "REQUIRED")
    assert "MUST have an instrument" in found


# ---------------------------------------------------------------- SLSA


def test_a_statement() -> None:
    made = export_statement(kept(rerun_of="garage-1"))
    assert set(made) == {"_type", "subject", "predicateType", "predicate"}
    assert (made["_type"], made["predicateType"]) == (STATEMENT, PREDICATE)
    assert STATEMENT == "https://in-toto.io/Statement/v1"
    assert PREDICATE == "https://slsa.dev/provenance/v1"
    assert made["subject"] == [
        {"name": "outputs/model.bin", "digest": {"sha256": sha256(b"weights")}},
        {"name": "notes é.txt", "digest": {"sha256": sha256(b"")}},
        {"name": "outputs/\\udcff \n.bin", "digest": {"sha256": sha256(b"odd")}},
    ]
    assert set(made["predicate"]) == {"buildDefinition", "runDetails"}
    definition = made["predicate"]["buildDefinition"]
    assert definition["buildType"] == "urn:reprorun:run:1"
    assert definition["externalParameters"] == {
        "argv": ["train.py", "--lr", "0.1"],
        "command": ["python", "train.py", "--lr", "0.1"],
        "workingDirectory": ".",
        "launcher": "train.py",
        "parameters": {"lr": 0.1, "layers": [1, 2]},
        "environment": {"A": "1", "HF_TOKEN": "<redacted>"},
        "inputs": [{"target": "/data/x", "sha256": "c" * 64}],
        "rerunOf": "urn:reprorun:record:garage-1",
    }
    assert definition["internalParameters"]["limits"]["pids"] == 4096
    assert definition["internalParameters"]["network"] == "none"
    assert definition["internalParameters"]["runtime"] == "cpu"


def test_what_a_statement_says_the_run_was_made_from() -> None:
    base = {**as_fields(values.BASE), "repo_digest": "python@sha256:" + "1" * 64}
    made = export_statement(kept(base_image=values.BASE.__class__(**base)))
    found = made["predicate"]["buildDefinition"]["resolvedDependencies"]
    by_name = {each["name"]: each for each in found}
    assert by_name["launch_archive.tar.xz"]["digest"] == {"sha256": sha256(CODE)}
    assert by_name["source repository"] == {
        "name": "source repository",
        "digest": {"gitCommit": values.COMMIT},
        "annotations": {"uncommittedChanges": True},
    }
    assert by_name["python:3.11-slim"]["digest"] == {"sha256": "1" * 64}
    assert by_name["numpy-1.26.2-py3-none-any.whl"] == {
        "name": "numpy-1.26.2-py3-none-any.whl",
        "uri": "pkg:pypi/numpy@1.26.2",
        "digest": {"sha256": "a" * 64},
    }
    assert by_name["/data/x"]["digest"] == {"sha256": "c" * 64}
    assert len(found) == 5
    for each in found:  # the spec wants one of these
        assert {"uri", "digest", "content"} & set(each)


def test_what_a_statement_says_of_the_run() -> None:
    details = export_statement(kept())["predicate"]["runDetails"]
    assert details["builder"] == {
        "id": "urn:reprorun:builder:1",
        "version": {"reprorun": "1.2.3", "docker": "20.10"},
    }
    assert details["metadata"] == {
        "invocationId": "urn:reprorun:record:0123456789abcdef",
        "startedOn": "2024-03-31T12:34:56Z",
        "finishedOn": "2024-03-31T12:35:00Z",
    }
    by_name = {each["name"]: each for each in details["byproducts"]}
    assert set(by_name) == {"run.json", "console.log"}
    assert by_name["console.log"]["digest"] == {"sha256": sha256(b"hello\n")}
    assert by_name["run.json"]["annotations"] == {"status": "finished", "exitCode": 0}


def test_a_run_without_outputs_has_no_provenance(capsys: Capture) -> None:
    assert run(["export", kept(outputs=()), "--format", "slsa"]) == 2
    assert "left no output" in capsys.readouterr().err
    export_crate("run", None)


# ---------------------------------------------------------------- the command


def test_the_command(capsys: Capture) -> None:
    log_dir = kept()
    assert run(["export", log_dir, "--format", "slsa"]) == 0
    captured = capsys.readouterr()
    assert captured.err == ""
    assert run(["export", log_dir, "--format", "slsa", "-o", "s.json"]) == 0
    assert Path("s.json").read_text() == captured.out
    assert json.loads(captured.out) == export_statement(log_dir)
    capsys.readouterr()
    assert run(["export", log_dir, "--format", "ro-crate", "-o", "there"]) == 0
    captured = capsys.readouterr()
    assert (captured.out, captured.err) == ("", "reprorun: wrote there\n")
    assert Path("there/run.json").is_file()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "Missing option '--format'"),
        (["--format", "prov"], "'prov' is not one of 'ro-crate', 'slsa'"),
        (["--format", "slsa", "-o", "run/new"], "lies in the record"),
        (["--format", "ro-crate", "-o", "run/new"], "lies in the record"),
        (["--format", "ro-crate", "-o", ""], "-o is empty"),
        (["--format", "slsa", "-o", ""], "-o is empty"),
        (["--format", "ro-crate", "-o", "taken"], "taken exists already"),
        (["--format", "slsa", "-o", "taken"], "taken exists already"),
        (["--format", "ro-crate", "-o", "nowhere/x"], "can't be written"),
        (["--format", "ro-crate", "-o", "nowhere/x.zip"], "can't be written"),
        (["--format", "slsa", "-o", "nowhere/x"], "can't be written"),
    ],
)
def test_wrong_usage(arguments: list[str], said: str, capsys: Capture) -> None:
    log_dir = kept()
    Path("taken").write_text("mine")
    before = tree(".")
    assert run(["export", log_dir, *arguments]) == 2
    assert said in capsys.readouterr().err
    assert tree(".") == before


def test_without_the_library(monkeypatch: pytest.MonkeyPatch, capsys: Capture) -> None:
    monkeypatch.setitem(sys.modules, "rocrate", None)
    assert run(["export", kept(), "--format", "ro-crate"]) == 2
    assert "pip install 'reprorun[export]'" in capsys.readouterr().err
    assert run(["export", "run", "--format", "slsa"]) == 0


@pytest.mark.parametrize("form", ["ro-crate", "slsa"])
def test_what_is_no_record_of_ours(form: str, capsys: Capture) -> None:
    Path("garage").mkdir()
    Path("garage/metadata.json").write_text('{"launcher": "a.py"}')
    assert run(["export", "garage", "--format", form]) == 2
    assert "garage wrote" in capsys.readouterr().err
    assert run(["export", "nowhere", "--format", form]) == 2


# ---------------------------------------------------------------- hostile


def refused(form: str, capsys: Capture) -> str:
    before = sorted(os.listdir())
    assert run(["export", "run", "--format", form]) == 2
    assert sorted(os.listdir()) == before, "nothing half-written"
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith("reprorun: error: ")
    assert all(line.isprintable() for line in captured.err.splitlines())
    return captured.err


@pytest.mark.parametrize("form", ["ro-crate", "slsa"])
@pytest.mark.parametrize(
    "path",
    [
        *("/etc/passwd", "../secret", "outputs/../../secret", "", ".", "..", "a//b", "./secret"),
        *("outputs/", "nul\0", "\ud800", "missing\x1b[2J", "outputs", "link", "through/secret"),
        *("pipe", "run.json", "launch_archive.tar.xz", "x" * 300),
    ],
)
def test_an_output_that_is_none(path: str, form: str, capsys: Capture) -> None:
    Path("secret").write_bytes(b"weights")
    Path("run").mkdir()
    Path("run/link").symlink_to("../secret")
    Path("run/through").symlink_to("..")
    os.mkfifo("run/pipe")
    kept(outputs=(Output(path=path, size=7, sha256=sha256(b"weights")),))
    refused(form, capsys)


@pytest.mark.parametrize("form", ["ro-crate", "slsa"])
@pytest.mark.parametrize("name", ["outputs/model.bin", "launch_archive.tar.xz"])
def test_a_file_that_is_not_what_it_was(name: str, form: str, capsys: Capture) -> None:
    kept()
    Path("run", name).write_bytes(b"changed")
    said = refused(form, capsys)
    assert f"'{name}' of run is no longer what it was" in said


@pytest.mark.parametrize("name", ["console.log", "launch_archive.tar.xz", "Dockerfile"])
def test_a_link_in_the_place_of_a_file_of_ours(name: str, capsys: Capture) -> None:
    Path("secret").write_bytes(CODE)
    kept()
    Path("run", name).unlink(missing_ok=True)
    Path("run", name).symlink_to("../secret")
    refused("ro-crate", capsys)


def test_a_file_that_changes_while_it_is_exported(monkeypatch: pytest.MonkeyPatch) -> None:
    kept()
    found = export_files.find_outputs

    def find_and_change(log_dir: str, record: Record) -> Any:
        outputs = found(log_dir, record)
        Path("run/outputs/model.bin").write_bytes(b"another")
        return outputs

    monkeypatch.setattr("reprorun.workflow.export.find_outputs", find_and_change)
    for target in ("x", "x.zip"):
        with pytest.raises(RecordError, match="no longer what it was"):
            export_crate("run", target)
        Path("run/outputs/model.bin").write_bytes(b"weights")
    assert os.listdir() == ["run"]


@pytest.mark.parametrize("form", ["ro-crate", "slsa"])
@pytest.mark.parametrize(
    "fields",
    [
        {"started": "yesterday"},
        {"ended": "2024-03-31T12:34:56"},
        {"started": "0001-01-01T00:00:00+23:00"},
        {"archive": {"sha256": "\x1b[2J", "size": 1, "files": 1}},
        {"inputs": [{"path": "/x", "target": "/x", "size": 1, "sha256": "0"}]},
        {"outputs": [{"path": "outputs/model.bin", "size": 7, "sha256": "A" * 64}]},
        {"outputs": [{"path": "notes é.txt", "size": 0, "sha256": sha256(b"")}] * 2},
        {"outputs": [{"path": "outputs/model.bin", "size": 8, "sha256": sha256(b"weights")}]},
        {"packages": [{"name": "a", "version": "1", "wheel": {"name": "a", "sha256": "\n"}}]},
        {"base_image": {"ref": "a", "id": "b", "digest": "c", "repo_digest": "a@sha256:1"}},
        {"params": {"a": json.loads("[" * 200 + "]" * 200)}},
    ],
)
def test_a_record_that_can_not_be(fields: dict[str, Any], form: str, capsys: Capture) -> None:
    log_dir = kept()
    data = json.loads(Path(log_dir, store.RUN_FILE).read_text())
    values.keep(Path(log_dir), {**data, **fields})
    refused(form, capsys)


EVIL = '\x1b[2J\udcff../../\n"}'


def test_texts_of_any_kind() -> None:
    """They are but texts in what is made, and it is JSON as others read it."""
    log_dir = kept()
    data = json.loads(Path(log_dir, store.RUN_FILE).read_text())
    fields = {
        "id": EVIL, "argv": [EVIL], "cwd": EVIL, "launcher": EVIL, "rerun_of": EVIL,
        "params": {EVIL: EVIL, "big": 10**400, "huge": 0.5}, "environment": {EVIL: EVIL},
        "engine": {"name": EVIL, "version": EVIL, "api_version": EVIL}, "reason": EVIL,
        "base_image": {"ref": EVIL, "id": EVIL, "digest": EVIL, "python": EVIL},
        "packages": [{"name": EVIL, "version": EVIL, "wheel": {"name": EVIL, "sha256": "a" * 64}}],
        "inputs": [{"path": EVIL, "target": EVIL, "size": 10**400, "sha256": "a" * 64}],
    }  # fmt: skip
    text = json.dumps({**data, **fields}).replace('"huge": 0.5', '"huge": 1e999')
    values.keep(Path(log_dir), text)
    export_crate(log_dir, "x.crate")
    strict = {"parse_constant": lambda name: pytest.fail(f"{name} is no JSON")}
    made = Path("x.crate/ro-crate-metadata.json").read_text()
    json.dumps(json.loads(made, **strict), ensure_ascii=False).encode()
    statement = json.dumps(export_statement(log_dir))
    json.dumps(json.loads(statement, **strict), ensure_ascii=False).encode()
    assert sorted(os.listdir()) == ["run", "x.crate"]


def test_payloads_are_what_the_run_was_made_from() -> None:
    payload = base64.b64encode(b"pickled")
    Path("run").mkdir()
    Path("run/args_data.b64").write_bytes(payload)
    known = Output(path="args_data.b64", size=len(payload), sha256=sha256(payload))
    made = export_statement(kept(payloads=(known,)))
    found = made["predicate"]["buildDefinition"]["resolvedDependencies"]
    assert {"name": "args_data.b64", "digest": {"sha256": sha256(payload)}} in found
    Path("run/args_data.b64").write_bytes(b"another")
    with pytest.raises(RecordError, match=r"args_data\.b64"):
        export_statement("run")
