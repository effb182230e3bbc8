"""Planning: what runs, with what, under which digest."""

from __future__ import annotations

import json
import shlex
import time
from typing import Any

import msgspec
import pytest

from reprorun.cli.dry_run import docker_command
from reprorun.errors import UsageError
from reprorun.gpus import choose_gpus
from reprorun.model import (
    EngineInfo,
    GpuRequest,
    Gpus,
    InputFile,
    Limits,
    Mount,
    Plan,
)
from reprorun.plan import (
    container_command,
    made_directories,
    make_plan,
    plan_environment,
    redact,
)

from . import values

NVIDIA = EngineInfo(name="docker", version="1", api_version="1", runtimes=("nvidia", "runc"))


def data(target: str) -> InputFile:
    return InputFile(path="/host" + target, target=target, size=1, sha256="0" * 64)


@pytest.mark.parametrize(
    ("script", "launcher", "workdir", "wanted"),
    [
        ("train.py", "train.py", ".", "train.py"),
        ("./train.py", "train.py", ".", "./train.py"),
        ("a/b/train.py", "a/b/train.py", ".", "a/b/train.py"),
        ("train.py", "a/train.py", "a", "train.py"),
        ("../train.py", "train.py", "a", "../train.py"),
        ("a//train.py", "a/train.py", ".", "a//train.py"),
        ("project/train.py", "train.py", ".", "/workspace/train.py"),  # from outside
        ("/project/a/train.py", "a/train.py", "b", "/workspace/a/train.py"),
        ("link/train.py", "real/train.py", ".", "/workspace/real/train.py"),
        ("-x.py", "-x.py", ".", "./-x.py"),
        ("-d/x.py", "-d/x.py", ".", "./-d/x.py"),
        ("a b'$.py", "a b'$.py", ".", "a b'$.py"),
    ],
)
def test_the_command(script: str, launcher: str, workdir: str, wanted: str) -> None:
    code = values.code(launcher=launcher, workdir=workdir)
    spec = values.spec(script, args=("-v", "a b", ""))
    assert container_command(spec, code) == ("python", wanted, "-v", "a b", "")


def test_a_given_command_stands() -> None:
    spec = values.spec(command=("sh", "-c", "x"), args=("ignored",))
    assert container_command(spec, values.code()) == ("sh", "-c", "x")


@pytest.mark.parametrize(("workdir", "wanted"), [(".", "/workspace"), ("a/b", "/workspace/a/b")])
def test_the_working_directory(workdir: str, wanted: str) -> None:
    assert values.plan(code=values.code(workdir=workdir)).container.workdir == wanted


@pytest.mark.parametrize(
    ("asked", "engine", "wanted"),
    [
        (Gpus(), values.ENGINE, None),
        (Gpus(), NVIDIA, GpuRequest(runtime="nvidia", count=-1)),
        (Gpus(kind="none"), NVIDIA, None),
        (Gpus(kind="all"), NVIDIA, GpuRequest(runtime="nvidia", count=-1)),
        (Gpus(kind="all"), values.ENGINE, GpuRequest(count=-1)),  # the engine will refuse
        (Gpus(kind="count", count=2), values.ENGINE, GpuRequest(count=2)),
        (
            Gpus(kind="device", devices=("0", "2")),
            NVIDIA,
            GpuRequest(runtime="nvidia", devices=("0", "2")),
        ),
    ],
)
def test_gpus(asked: Gpus, engine: EngineInfo, wanted: GpuRequest | None) -> None:
    assert choose_gpus(asked, engine) == wanted
    assert values.plan(values.spec(gpus=asked), engine=engine).container.gpus == wanted


@pytest.mark.parametrize(
    ("asked", "engine", "hidden", "visible"),
    [
        (Gpus(kind="none"), NVIDIA, "-1", None),
        (Gpus(), NVIDIA, None, "all"),
        (Gpus(), values.ENGINE, None, None),
        (Gpus(kind="all"), NVIDIA, None, "all"),
        (Gpus(kind="count", count=2), NVIDIA, None, "0,1"),
        (Gpus(kind="device", devices=("0", "2")), NVIDIA, None, "0,2"),
        (Gpus(kind="all"), values.ENGINE, None, None),
    ],
)
def test_gpu_variables(
    asked: Gpus, engine: EngineInfo, hidden: str | None, visible: str | None
) -> None:
    env = values.plan(values.spec(gpus=asked), engine=engine).container.env
    assert env.get("CUDA_VISIBLE_DEVICES") == hidden
    assert env.get("NVIDIA_VISIBLE_DEVICES") == visible


def test_the_users_variables_count_but_not_for_the_guest() -> None:
    given = {"CUDA_VISIBLE_DEVICES": "7", "REPRORUN_GUEST": "mine"}
    spec = values.spec(env=given, gpus=Gpus(kind="none"), params={"lr": 0.5})
    env = values.plan(spec).container.env
    assert env["CUDA_VISIBLE_DEVICES"] == "7"
    assert json.loads(env["REPRORUN_GUEST"]) == {
        "log_dir": "/log",
        "root": "/workspace",
        "metadata": {"githash": values.COMMIT, "launcher": "train.py"},
        "params": {"lr": 0.5},
    }


def test_the_container() -> None:
    limits = Limits(memory=1 << 30, cpus=1.5, timeout=10)
    plan = values.plan(values.spec(network="bridge", limits=limits), inputs=(data("/data/x"),))
    container = plan.container
    assert container.image == plan.run_tag
    assert container.name == "reprorun-abc"
    assert container.user == "1000:1001"
    assert container.network == "bridge"
    assert container.limits == limits
    assert container.labels == {"reprorun": "1.2.3", "reprorun.run": "abc"}
    assert container.entrypoint is None
    assert container.mounts == (
        Mount(source="/project/data/local/experiment/train", target="/log", read_only=False),
        Mount(
            source="/project/data/local/experiment/train/launch_archive.tar.xz",
            target="/log/launch_archive.tar.xz",
            read_only=True,
        ),
        Mount(source="/host/data/x", target="/data/x", read_only=True),
    )


# ---------------------------------------------------------------- redaction

SECRET = (
    *("AWS_SECRET_ACCESS_KEY", "HF_TOKEN", "PASSWORD", "DB_PASSWD", "db_pass", "MYSQL_PWD"),
    *("SSH_PASSPHRASE", "WANDB_API_KEY", "APIKEY", "PRIVATE_KEY", "CREDENTIALS", "Authorization"),
    *("API_KEY_2", "APIKEY_OLD", "KEY2", "KEY_2", "openai_key_file", "GITHUB_PAT", "pat"),
)
OPEN = (
    *("LR", "SEED", "OMP_NUM_THREADS", "PATH", "PWD", "PASSES", "KEYS", "MPLBACKEND"),
    *("KEYBOARD", "MONKEY_2X", "PATTERN", "PATIENCE", "SPAT"),
)
HOST = "h.example.invalid/x"
SECRET_VALUES = (
    *(f"https://ghp_0123@{HOST}", f"postgresql://u:hunter2@{HOST}", f"redis://:hunter2@{HOST}"),
    *(f"ssh://u:hunter2@{HOST}", f"https://0123abcd@{HOST}", f"a {HOST} HTTPS://u@{HOST}"),
    *(f"https://{HOST}?a=1&X-Amz-Signature=0123", f"https://{HOST}?sv=1&sig=0%2f", "x;sig=y"),
    *(f"https://{HOST}?access_token=1", f"https://{HOST}?key=1", "Server=x;Password=hunter2"),
    *("ghp_x", "gho_x", "github_pat_x", "x glpat-x", "Bearer=ghs_x", "xoxb-1", "sk_live_x"),
    *("AKIA0123456789ABCDEF", "sk-proj-0123456789abcdef", "hf_" + "aB" * 17, "npm_" + "aB" * 18),
    *("AIza" + "x" * 35, "eyJhbGciOiJI.eyJzdWIi.x", "-----BEGIN RSA PRIVATE KEY-----"),
)
OPEN_VALUES = (
    *(f"https://{HOST}", f"ssh://git@{HOST}", f"git+ssh://git@{HOST}", f"sftp://me@{HOST}"),
    *("me@example.invalid", f"https://{HOST}/@me", f"https://{HOST}?sigma=1&design=2", "a=b;c=d"),
    *("sk-learn", "sk-learn-random-forest", "task-0123456789abcdef", "hf_transfer", "highp_x"),
    *("AKIA", "ASIAN", "npm_config_registry_of_x", "?sig=", "--max_tokens=8", "eyJ", ""),
)


@pytest.mark.parametrize("name", SECRET)
def test_secrets_are_redacted(name: str) -> None:
    assert redact({name: "hunter2"}) == {name: "<redacted>"}


@pytest.mark.parametrize("name", OPEN)
def test_other_variables_are_not(name: str) -> None:
    assert redact({name: "x"}) == {name: "x"}


@pytest.mark.parametrize("value", SECRET_VALUES)
def test_values_that_say_themselves_that_they_are_secret(value: str) -> None:
    assert redact({"PLACE": value}) == {"PLACE": "<redacted>"}


@pytest.mark.parametrize("value", OPEN_VALUES)
def test_other_values_do_not(value: str) -> None:
    assert redact({"PLACE": value}) == {"PLACE": value}


@pytest.mark.parametrize("part", ["://", ":", "@", "sk-", "eyJa", "?a", "key_", "-----BEGIN ", "a"])
def test_no_value_takes_long_to_be_looked_at(part: str) -> None:
    value = "://" + part * ((1 << 17) // len(part))
    began = time.process_time()
    redact({"PLACE": value, value: "x"})
    assert time.process_time() - began < 2


# ---------------------------------------------------------------- mounts


@pytest.mark.parametrize(
    ("targets", "wanted"),
    [
        ((), ()),
        (("/data/a/b",), ()),
        (("/workspace/x",), ()),
        (("/workspace/a/b/x",), ("a", "a/b")),
        (("/workspace/b/x", "/workspace/a/x", "/workspace/a/c/x"), ("a", "a/c", "b")),
        (("/workspaces/a/x",), ()),
    ],
)
def test_directories_in_which_inputs_are_mounted(
    targets: tuple[str, ...], wanted: tuple[str, ...]
) -> None:
    code = values.code()
    assert made_directories(code, tuple(data(target) for target in targets)) == wanted


def test_the_working_directory_is_made_where_the_archive_has_it_not() -> None:
    code = values.code(workdir="out/of/it")
    assert made_directories(code, ()) == ("out", "out/of", "out/of/it")


# ---------------------------------------------------------------- digests


def digests(plan: Plan) -> tuple[str, str, str, str]:
    return (plan.environment.digest, plan.environment.tag, plan.run_digest, plan.run_tag)


def planned(**changed: Any) -> Plan:
    digest = changed.pop("environment_digest", "e" * 64)
    archive = changed.pop("archive_sha256", "a" * 64)
    facts = values.facts(**changed.pop("facts", {}))
    environment = plan_environment("1.2.3", values.BASE, digest, values.LAYERS)
    return make_plan(values.spec(**changed), facts, environment, archive)


def test_tags_derive_from_digests() -> None:
    plan = planned()
    assert plan.environment.digest == "sha256:" + "e" * 64
    assert plan.environment.tag == "reprorun/environment:" + "e" * 24
    assert plan.run_tag == f"reprorun/run:{plan.run_digest.removeprefix('sha256:')[:24]}"


@pytest.mark.parametrize(
    "changed",
    [
        {"environment_digest": "f" * 64},
        {"archive_sha256": "b" * 64},
        {"facts": {"code": values.code(commit="f" * 40)}},
        {"facts": {"code": values.code(dirty=True)}},
        {"facts": {"inputs": (data("/workspace/a/x"),)}},  # its parent must be in the image
    ],
)
def test_what_changes_the_image_changes_its_digest(changed: dict[str, Any]) -> None:
    assert planned(**changed).run_digest != planned().run_digest


@pytest.mark.parametrize(
    "changed",
    [
        {"args": ("--x",)},
        {"env": {"A": "1"}},
        {"params": {"a": 1}},
        {"network": "host"},
        {"limits": Limits(memory=1)},
        {"gpus": Gpus(kind="none")},
        {"facts": {"run_id": "other", "log_dir": "/elsewhere", "uid": 0, "gid": 0}},
        {"facts": {"inputs": (data("/data/x"), data("/workspace/x"))}},
        {"facts": {"code": values.code("/moved", workdir="a", files=("a/x.py",))}},
    ],
)
def test_what_does_not_change_the_image_does_not(changed: dict[str, Any]) -> None:
    assert digests(planned(**changed)) == digests(planned())


@pytest.mark.parametrize("commit", ["HEAD", "0123", "g" * 40, '"; RUN x', "0" * 40 + "\nRUN x"])
def test_a_commit_that_is_none_is_refused(commit: str) -> None:
    with pytest.raises(UsageError, match="is no git commit"):
        values.plan(code=values.code(commit=commit))


def test_plans_are_values() -> None:
    assert values.plan() == values.plan()
    with pytest.raises(AttributeError):
        values.plan().githash = "x"  # type: ignore[misc]


def test_metadata_outside_git() -> None:
    outside = values.code(in_git=False, commit=None)
    assert outside.metadata == {"launcher": "/project/train.py"}
    assert values.code(commit=None).metadata == {"launcher": "train.py"}
    assert values.code(dirty=True).metadata["githash"] == values.COMMIT + "-dirty"


# ---------------------------------------------------------------- as a command to type


def words(**fields: Any) -> list[str]:
    spec = msgspec.structs.replace(values.plan().container, **fields)
    return shlex.split(docker_command(spec, "IMAGE"))


@pytest.mark.parametrize(
    ("fields", "wanted"),
    [
        ({"limits": Limits(memory=5, cpus=0.5)}, ["--memory", "5", "--memory-swap", "5"]),
        ({"limits": Limits(cpus=0.5)}, ["--cpus", "0.5"]),
        ({"gpus": GpuRequest(runtime="nvidia", count=-1)}, ["--runtime", "nvidia"]),
        ({"gpus": GpuRequest(count=-1)}, ["--gpus", "all"]),
        ({"gpus": GpuRequest(count=2)}, ["--gpus", "2"]),
        ({"gpus": GpuRequest(devices=("0", "2"))}, ["--gpus", '"device=0,2"']),
        ({"gpus": GpuRequest(driver="cdi", devices=("a.b/c=0",))}, ["--device=a.b/c=0"]),
        ({"env": {"A": "x y"}}, ["--env", "A=x y"]),
        ({"env": {"HF_TOKEN": "hunter2"}}, ["--env", "HF_TOKEN"]),
        ({"command": ("python", "a b.py", "$(x)")}, ["IMAGE", "python", "a b.py", "$(x)"]),
        ({"user": "1:2"}, ["--user", "1:2"]),
        (
            {"mounts": (Mount(source="/a b", target="/c"),)},
            ["--mount", "type=bind,source=/a b,target=/c,readonly"],
        ),
    ],
)
def test_the_docker_command(fields: dict[str, Any], wanted: list[str]) -> None:
    found = words(**fields)
    places = range(len(found) - len(wanted) + 1)
    assert any(found[place : place + len(wanted)] == wanted for place in places), found
    assert "hunter2" not in " ".join(found)


def test_the_docker_command_is_closed() -> None:
    found = " ".join(words())
    for flag in ("--cap-drop ALL", "no-new-privileges", "--network none", "--pids-limit 4096"):
        assert flag in found
