"""Base images from a real registry: by tag and by digest, moved, gone, and behind a login."""

from __future__ import annotations

import base64
import json
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from .bench import OLD_BASE, Bench, Done, client, one_message
from .complete import assert_valid
from .registry import PASSWORD, USER, Registry, registry

NAME = "lab/python"
TAG = f"{NAME}:1"
WHICH = "import os; print(os.environ['WHICH'], open('/which').read(), end='')\n"
HELPER = """\
#!/bin/sh
read -r server
echo "$1 $server" >>"$(dirname "$0")/asked"
case $server in
%s) echo '{"ServerURL": "", "Username": "%s", "Secret": "%s"}' ;;
*) echo 'credentials not found in native keychain' && exit 1 ;;
esac
"""


def dockerfile(which: str) -> str:
    """A base image with a layer and a variable of its own."""
    return f"FROM {OLD_BASE}\nRUN echo {which} >/which\nENV WHICH={which}\nLABEL reprorun=test\n"


@pytest.fixture(scope="module")
def opened(session: object, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Registry]:
    """A registry for everybody."""
    with registry(tmp_path_factory.mktemp("registry")) as made:
        yield made


@pytest.fixture(scope="module")
def locked(session: object, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Registry]:
    """A registry that wants a login, with an image."""
    with registry(tmp_path_factory.mktemp("locked"), login=True) as made:
        made.push(TAG, dockerfile("secret"))
        yield made


@pytest.fixture
def lab(opened: Registry) -> Iterator[Registry]:
    """The open registry; the engine has nothing of it."""
    opened.forget()
    yield opened
    opened.forget()


@pytest.fixture
def vault(locked: Registry) -> Iterator[Registry]:
    """The locked registry; the engine has nothing of it."""
    locked.forget()
    yield locked
    locked.forget()


@pytest.fixture
def which(bench: Bench) -> Bench:
    """A script that says in which image it runs."""
    bench.write({"which.py": WHICH})
    bench.commit()
    return bench


def run(bench: Bench, ref: str, *flags: str, **env: str) -> Done:
    """The script in a base image."""
    return bench.exec("which.py", flags=["--base-image", ref, *flags], env=env)


def base_of(done: Done) -> tuple[str, str | None]:
    """The base image as the record has it: what was asked for, and the registry's digest."""
    assert done.code == 0, done.err
    base = done.record.base_image
    assert base is not None
    return base.ref, base.repo_digest


def refusal(done: Done) -> str:
    """The message of a run that could not begin, which left nothing."""
    assert (done.code, done.out) == (125, "")
    assert list(done.log_dir.iterdir()) == []
    return one_message(done.err)


def pull(ref: str) -> None:
    with client() as engine:
        engine.images.pull(ref)


# ---------------------------------------------------------------- by tag and by digest


def test_a_base_image_that_the_engine_lacks_is_pulled(which: Bench, lab: Registry) -> None:
    digest = lab.push(TAG, dockerfile("pulled"))
    done = run(which, lab.ref(TAG))
    assert base_of(done) == (lab.ref(TAG), lab.ref(f"{NAME}@{digest}"))
    assert done.out == "pulled pulled\n"
    assert f"pulling {lab.ref(TAG)}" in done.err
    assert_valid(done.log_dir)
    with client() as engine:
        image = engine.images.get(lab.ref(TAG))
        assert done.record.base_image is not None
        assert done.record.base_image.id == image.id
    assert f"FROM {lab.ref(f'{NAME}@{digest}')} AS" in (done.log_dir / "Dockerfile").read_text()
    asked = len(lab.requests())
    assert base_of(run(which, lab.ref(TAG))) == base_of(done)
    assert len(lab.requests()) == asked  # it is there now


def test_a_base_image_without_a_tag_is_the_latest(which: Bench, lab: Registry) -> None:
    lab.push(TAG, dockerfile("other"))
    digest = lab.push(f"{NAME}:latest", dockerfile("latest"))
    done = run(which, lab.ref(NAME))
    assert base_of(done) == (lab.ref(NAME), lab.ref(f"{NAME}@{digest}"))
    with client() as engine:  # that one, and not all of them
        assert not engine.images.list(lab.ref(TAG))


@pytest.mark.parametrize("before", [NAME, TAG])
def test_a_base_image_by_its_digest(which: Bench, lab: Registry, before: str) -> None:
    digest = lab.push(TAG, dockerfile("by-digest"))
    lab.push(TAG, dockerfile("moved"))
    ref = lab.ref(f"{before}@{digest}")
    done = run(which, ref)
    assert base_of(done) == (ref, lab.ref(f"{NAME}@{digest}"))
    assert done.out == "by-digest by-digest\n"
    asked = len(lab.requests())
    assert base_of(run(which, ref, "--offline")) == base_of(done)
    assert len(lab.requests()) == asked


def test_a_tag_that_moved(which: Bench, lab: Registry) -> None:
    old = lab.push(TAG, dockerfile("old"))
    first = run(which, lab.ref(TAG))
    with client() as engine:  # which has to keep it
        engine.images.get(lab.ref(TAG)).tag("reprorun-test/moved", "old")
    try:
        new = lab.push(TAG, dockerfile("new"))
        with client() as engine:
            engine.images.get("reprorun-test/moved:old").tag(lab.ref(NAME), "1")
        own = run(which, lab.ref(TAG))
        assert (own.out, first.out) == ("old old\n", "old old\n")
        pull(lab.ref(TAG))
        after = run(which, lab.ref(TAG))
        assert after.out == "new new\n"
        assert base_of(after) == (lab.ref(TAG), lab.ref(f"{NAME}@{new}"))
        again = run(which, lab.ref(f"{NAME}@{old}"))
        assert again.out == "old old\n"
        assert base_of(again)[1] == base_of(first)[1] == lab.ref(f"{NAME}@{old}")
        assert again.record.environment_digest == first.record.environment_digest
        assert after.record.environment_digest != first.record.environment_digest
    finally:
        with client() as engine:
            engine.images.remove("reprorun-test/moved:old", force=True)


def test_the_digest_is_that_of_the_repository_that_was_named(
    which: Bench, lab: Registry, vault: Registry
) -> None:
    digest = lab.push(TAG, dockerfile("two-homes"))
    pull(lab.ref(TAG))
    for other in ("a/first", "z/last"):  # where the same image is known too
        with client() as engine:
            engine.images.get(lab.ref(TAG)).tag(lab.ref(other), "1")
            list(engine.images.push(lab.ref(f"{other}:1"), stream=True))
    for name in (NAME, "a/first", "z/last"):
        done = run(which, lab.ref(f"{name}:1"))
        assert base_of(done) == (lab.ref(f"{name}:1"), lab.ref(f"{name}@{digest}"))


def test_the_project_names_the_base_image(which: Bench, lab: Registry) -> None:
    digest = lab.push(TAG, dockerfile("named"))
    which.write({"pyproject.toml": f'[tool.reprorun]\nbase-image = "{lab.ref(TAG)}"\n'})
    which.commit()
    done = which.exec("which.py", env={"REPRORUN_BASE_IMAGE": ""})
    assert done.out == "named named\n"
    assert base_of(done) == (lab.ref(TAG), lab.ref(f"{NAME}@{digest}"))


def test_pythons_own_image_is_asked_for_when_nothing_is_said(which: Bench) -> None:
    wanted = "python:3.8-slim"
    with client() as engine:
        if engine.images.list(wanted):
            pytest.fail(f"this test needs an engine without {wanted}: docker rmi {wanted}")
    done = which.exec("which.py", flags=["--python", "3.8"], env={"REPRORUN_BASE_IMAGE": ""})
    if done.code == 0:  # where Docker Hub answers
        assert base_of(done)[0] == wanted
        return
    message = refusal(done)
    assert f"the base image {wanted} is not on the engine and could not be pulled" in message
    assert "--base-image" in message


# ---------------------------------------------------------------- what can't be had


def test_a_digest_that_is_gone(which: Bench, lab: Registry) -> None:
    digest = lab.push(TAG, dockerfile("gone"))
    lab.delete(TAG, digest)
    message = refusal(run(which, lab.ref(f"{NAME}@{digest}")))
    assert f"{lab.host} does not have {digest}" in message
    assert "--base-image" in message
    assert message.count("\n") == 1


def test_a_digest_that_is_gone_but_is_still_on_the_engine(which: Bench, lab: Registry) -> None:
    digest = lab.push(TAG, dockerfile("kept"))
    ref = lab.ref(f"{NAME}@{digest}")
    pull(ref)
    lab.delete(TAG, digest)
    assert base_of(run(which, ref)) == (ref, ref)


@pytest.mark.parametrize("name", [f"{NAME}:no-such-tag", "no/such-image:1"])
def test_a_name_that_the_registry_does_not_have(which: Bench, lab: Registry, name: str) -> None:
    message = refusal(run(which, lab.ref(name)))
    assert f"the base image {lab.ref(name)} is not on the engine" in message
    assert f"{lab.host} does not have it" in message
    assert "Correct the name" in message


def test_a_registry_that_is_down(which: Bench, tmp_path: Path) -> None:
    with registry(tmp_path / "registry") as gone:
        gone.stop()
        message = refusal(run(which, gone.ref(TAG)))
    assert f"the base image {gone.ref(TAG)} is not on the engine" in message
    assert "connection refused" in message
    assert "Name one that is there with --base-image" in message


def test_a_registry_that_is_down_is_not_needed_for_what_is_there(
    which: Bench, tmp_path: Path
) -> None:
    with registry(tmp_path / "registry") as gone:
        digest = gone.push(TAG, dockerfile("there"))
        pull(gone.ref(TAG))
        gone.stop()
        assert base_of(run(which, gone.ref(TAG)))[1] == gone.ref(f"{NAME}@{digest}")


def test_offline_never_asks_the_registry(which: Bench, lab: Registry) -> None:
    digest = lab.push(TAG, dockerfile("far"))
    asked = len(lab.requests())
    for ref in (lab.ref(TAG), lab.ref(f"{NAME}@{digest}")):
        message = refusal(run(which, ref, "--offline"))
        assert ref in message
        assert "--offline" in message
    assert len(lab.requests()) == asked


# ---------------------------------------------------------------- logins


def configured(place: Path, settings: object) -> dict[str, str]:
    """Variables for a configuration of docker's client."""
    (place / "docker").mkdir()
    text = settings if isinstance(settings, str) else json.dumps(settings)
    (place / "docker" / "config.json").write_text(text)
    return {"DOCKER_CONFIG": str(place / "docker")}


def stored(host: str, password: str) -> dict[str, object]:
    """Settings as `docker login` writes them."""
    return {"auths": {host: {"auth": base64.b64encode(f"{USER}:{password}".encode()).decode()}}}


def assert_kept_secret(done: Done) -> None:
    """Neither the password nor any form of it is in the record, what was printed, or the image."""
    forms = [PASSWORD.encode(), base64.b64encode(f"{USER}:{PASSWORD}".encode())[:-4]]
    seen = [done.out.encode(), done.err.encode()]
    seen += [path.read_bytes() for path in done.log_dir.rglob("*") if path.is_file()]
    with client() as engine:
        tags = [done.record.image, done.record.base_image.ref] if done.code == 0 else []  # type: ignore[union-attr]
        for tag in tags:
            seen.append(json.dumps(engine.api.inspect_image(tag)).encode())
            seen.append(json.dumps(engine.api.history(tag)).encode())
    assert not any(form in text for form in forms for text in seen)


def test_a_login_that_is_missing(which: Bench, vault: Registry, tmp_path: Path) -> None:
    message = refusal(run(which, vault.ref(TAG), **configured(tmp_path, {})))
    assert f"the base image {vault.ref(TAG)} is not on the engine" in message
    assert f"without a login for {vault.host}" in message
    assert f"`docker login {vault.host}`" in message


def test_a_login_that_is_missing_for_a_digest(
    which: Bench, vault: Registry, tmp_path: Path
) -> None:
    ref = vault.ref(f"{NAME}@sha256:{'0' * 64}")
    message = refusal(run(which, ref, **configured(tmp_path, {})))
    assert f"`docker login {vault.host}`" in message


def test_a_login_that_is_wrong(which: Bench, vault: Registry, tmp_path: Path) -> None:
    done = run(which, vault.ref(TAG), **configured(tmp_path, stored(vault.host, "guessed-wrong")))
    message = refusal(done)
    assert f"with the login for {vault.host} that docker's own store has" in message
    assert f"`docker login {vault.host}`" in message
    assert "guessed-wrong" not in done.err


def test_a_login_in_dockers_own_store(which: Bench, vault: Registry, tmp_path: Path) -> None:
    done = run(which, vault.ref(TAG), **configured(tmp_path, stored(vault.host, PASSWORD)))
    assert done.out == "secret secret\n"
    assert base_of(done)[0] == vault.ref(TAG)
    assert_kept_secret(done)


def test_a_login_of_another_registry_is_not_used(
    which: Bench, vault: Registry, tmp_path: Path
) -> None:
    settings = stored("registry.example.invalid", PASSWORD)
    message = refusal(run(which, vault.ref(TAG), **configured(tmp_path, settings)))
    assert f"without a login for {vault.host}" in message


def helped(place: Path, host: str, script: str) -> dict[str, str]:
    """Variables for a configuration with a credential helper of that script."""
    program = place / "bin" / "docker-credential-test"
    program.parent.mkdir()
    program.write_text(script)
    program.chmod(0o755)
    path = f"{program.parent}:{os.environ['PATH']}"
    return {**configured(place, {"credHelpers": {host: "test"}}), "PATH": path}


def test_a_login_from_a_helper(which: Bench, vault: Registry, tmp_path: Path) -> None:
    script = HELPER % (vault.host, USER, PASSWORD)
    done = run(which, vault.ref(TAG), **helped(tmp_path, vault.host, script))
    assert done.out == "secret secret\n"
    assert base_of(done)[0] == vault.ref(TAG)
    assert f"get {vault.host}" in (tmp_path / "bin" / "asked").read_text()
    assert_kept_secret(done)


def test_a_helper_that_knows_no_login(which: Bench, vault: Registry, tmp_path: Path) -> None:
    script = HELPER % ("elsewhere.invalid", USER, PASSWORD)
    done = run(which, vault.ref(TAG), **helped(tmp_path, vault.host, script))
    assert f"`docker login {vault.host}`" in refusal(done)
    assert_kept_secret(done)


def test_a_helper_that_is_not_asked_for_what_is_there(
    which: Bench, vault: Registry, tmp_path: Path
) -> None:
    env = helped(tmp_path, vault.host, HELPER % (vault.host, USER, PASSWORD))
    run(which, vault.ref(TAG), **env)
    asked = (tmp_path / "bin" / "asked").read_text()
    assert run(which, vault.ref(TAG), **env).code == 0
    assert (tmp_path / "bin" / "asked").read_text() == asked


@pytest.mark.parametrize(
    ("script", "said"),
    [
        ("#!/bin/sh\necho the keychain is locked\nexit 1\n", "the keychain is locked"),
        ("#!/bin/sh\necho no json\n", "answers oddly"),
        ("#!/bin/sh\necho '{}'\n", "answers oddly"),
        ("#!/bin/sh\necho '[]'\n", "answers oddly"),
    ],
)
def test_a_helper_that_fails(
    which: Bench, vault: Registry, tmp_path: Path, script: str, said: str
) -> None:
    message = refusal(run(which, vault.ref(TAG), **helped(tmp_path, vault.host, script)))
    assert f"{tmp_path}/docker/config.json" in message
    assert said in message


def test_a_helper_that_is_not_installed(which: Bench, vault: Registry, tmp_path: Path) -> None:
    settings = {"credHelpers": {vault.host: "nowhere"}}
    done = run(which, vault.ref(TAG), **configured(tmp_path, settings))
    assert "docker-credential-nowhere not installed" in refusal(done)
    assert "Warning" not in done.err


@pytest.mark.parametrize(
    "settings",
    ['{"auths": {"HOST": {"au', '{"auths": {"HOST": {"auth": "!"}}}', '{"auths": ["HOST"]}', "[1]"],
)
def test_a_store_that_is_damaged(
    which: Bench, vault: Registry, tmp_path: Path, settings: str
) -> None:
    env = configured(tmp_path, settings.replace("HOST", vault.host))
    message = refusal(run(which, vault.ref(TAG), **env))
    assert f"{tmp_path}/docker/config.json, can't be used" in message
    assert "DOCKER_CONFIG" in message


def test_a_dockerfile_of_the_projects_own_from_a_private_image(
    which: Bench, vault: Registry, tmp_path: Path
) -> None:
    which.write({"Dockerfile": f"FROM {vault.ref(TAG)}\nENV WHICH=built\n"})
    which.commit()
    flags = ["--file", "Dockerfile"]
    refused = which.exec("which.py", flags=flags, env=configured(tmp_path, {}))
    assert refused.code == 125
    (tmp_path / "login").mkdir()
    env = configured(tmp_path / "login", stored(vault.host, PASSWORD))
    done = which.exec("which.py", flags=flags, env=env)
    assert done.code == 0, done.err
    assert done.out == "built secret\n"
    assert_kept_secret(done)
    with client() as engine:
        assert done.record.base_image is not None
        engine.images.remove(done.record.image, force=True)
        engine.images.remove(done.record.base_image.ref, force=True)
