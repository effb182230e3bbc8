"""Where the engine is: variables, docker's contexts, usual sockets, and what is refused."""

from __future__ import annotations

import hashlib
import json
import socket
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from reprorun.engine import places, ssh
from reprorun.engine.places import Place, Tls, find_place
from reprorun.engine.route import Route
from reprorun.errors import EngineError, EngineUnavailable, UsageError

Listen = Callable[[Path], None]


@pytest.fixture
def listen() -> Iterator[Listen]:
    """Makes sockets at which somebody listens."""
    with ExitStack() as stack:

        def start(path: Path) -> None:
            path.parent.mkdir(parents=True, exist_ok=True)
            made = stack.enter_context(socket.socket(socket.AF_UNIX))
            made.bind(str(path))
            made.listen()

        yield start


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """Variables that lead to no engine and no configuration of this machine."""
    monkeypatch.setattr(places, "DOCKER_SOCKET", str(tmp_path / "default.sock"))
    monkeypatch.setattr(places, "PODMAN_SOCKET", str(tmp_path / "podman.sock"))
    return {"DOCKER_CONFIG": str(tmp_path / "docker")}


def write_context(
    home: dict[str, str], name: str, endpoint: Any, certificates: tuple[str, ...] = ()
) -> None:
    """As docker's client writes it."""
    contexts = Path(home["DOCKER_CONFIG"]) / "contexts"
    digest = hashlib.sha256(name.encode()).hexdigest()
    meta, tls = contexts / "meta" / digest, contexts / "tls" / digest / "docker"
    meta.mkdir(parents=True)
    told = {"Name": name, "Metadata": {}, "Endpoints": {"docker": endpoint}}
    (meta / "meta.json").write_text(json.dumps(told))
    tls.mkdir(parents=True)
    for file in certificates:
        (tls / file).write_text("PEM")


def use_context(home: dict[str, str], name: str) -> None:
    Path(home["DOCKER_CONFIG"]).mkdir(exist_ok=True)
    config = Path(home["DOCKER_CONFIG"]) / "config.json"
    config.write_text(json.dumps({"currentContext": name}))


def message(error: pytest.ExceptionInfo[Any]) -> str:
    text = str(error.value)
    assert 1 <= len(text.splitlines()) <= 2
    return text


# ---------------------------------------------------------------- which one


def test_nothing_named(home: dict[str, str], tmp_path: Path) -> None:
    found = find_place(None, home)
    assert found == Place(address=f"unix://{tmp_path}/default.sock", by="the default socket")
    assert not found.remote


def test_docker_host_beats_every_context(home: dict[str, str]) -> None:
    write_context(home, "lab", {"Host": "unix:///lab.sock"})
    write_context(home, "other", {"Host": "unix:///other.sock"})
    use_context(home, "lab")
    assert find_place(None, home).address == "unix:///lab.sock"
    named = {**home, "DOCKER_CONTEXT": "other"}
    found = find_place(None, named)
    assert (found.address, found.by) == ("unix:///other.sock", "docker context 'other'")
    found = find_place(None, {**named, "DOCKER_HOST": "unix:///mine.sock"})
    assert (found.address, found.by) == ("unix:///mine.sock", "DOCKER_HOST")


def test_the_default_context_is_the_default_socket(home: dict[str, str]) -> None:
    write_context(home, "lab", {"Host": "unix:///lab.sock"})
    use_context(home, "lab")
    assert find_place(None, {**home, "DOCKER_CONTEXT": "default"}).by == "the default socket"
    use_context(home, "default")
    assert find_place(None, home).by == "the default socket"


def test_a_rootless_socket_where_nothing_answers_at_the_default_one(
    home: dict[str, str], tmp_path: Path, listen: Listen
) -> None:
    home["XDG_RUNTIME_DIR"] = str(tmp_path / "run")
    assert find_place(None, home).by == "the default socket"  # neither answers
    listen(tmp_path / "run/docker.sock")
    found = find_place(None, home)
    assert found.address == f"unix://{tmp_path}/run/docker.sock"
    assert "rootless" in found.by
    assert f"nothing answers at {tmp_path}/default.sock" in found.by
    listen(tmp_path / "default.sock")
    assert find_place(None, home).by == "the default socket"


def test_contexts_are_not_looked_for_in_the_working_directory(
    home: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_context({"DOCKER_CONFIG": str(tmp_path / "here")}, "lab", {"Host": "unix:///evil.sock"})
    monkeypatch.chdir(tmp_path / "here")
    with pytest.raises(UsageError, match="no docker context 'lab'"):
        find_place(None, {**home, "DOCKER_CONTEXT": "lab"})


def test_a_machine_that_has_gone_is_noticed() -> None:
    """A run is waited for without a time limit: the connection itself has to be looked after."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        place = Place(address=f"tcp://127.0.0.1:{server.getsockname()[1]}", by="a test")
        with Route(place)._connect() as link:
            assert link.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
            limits = [
                link.getsockopt(socket.IPPROTO_TCP, option)
                for option in (socket.TCP_KEEPIDLE, socket.TCP_KEEPINTVL, socket.TCP_USER_TIMEOUT)
            ]
    assert limits == [15, 15, 60_000]


# ---------------------------------------------------------------- Podman


def test_podman_at_its_usual_sockets(home: dict[str, str], tmp_path: Path, listen: Listen) -> None:
    home["XDG_RUNTIME_DIR"] = str(tmp_path / "run")
    with pytest.raises(EngineUnavailable, match="no Podman answers at") as error:
        find_place("podman", home)
    assert f"{tmp_path}/run/podman/podman.sock or {tmp_path}/podman.sock" in message(error)
    listen(tmp_path / "podman.sock")
    assert find_place("podman", home).address == f"unix://{tmp_path}/podman.sock"
    listen(tmp_path / "run/podman/podman.sock")
    assert find_place("podman", home).address == f"unix://{tmp_path}/run/podman/podman.sock"


def test_podman_by_variable(home: dict[str, str]) -> None:
    home["DOCKER_HOST"] = "unix:///docker.sock"
    assert find_place("podman", home).address == "unix:///docker.sock"
    home["CONTAINER_HOST"] = "ssh://me@lab"
    found = find_place("podman", home)
    assert (found.address, found.by) == (f"ssh://me@lab{places.PODMAN_SOCKET}", "CONTAINER_HOST")
    assert find_place("docker", home).address == "unix:///docker.sock"
    assert find_place(None, home).address == "unix:///docker.sock"


# ---------------------------------------------------------------- addresses


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("unix:///a/b.sock", "unix:///a/b.sock"),
        ("ssh://lab", "ssh://lab{default}"),
        ("ssh://me@lab:2222/", "ssh://me@lab:2222{default}"),
        ("ssh://me@lab/run/user/7/docker.sock", "ssh://me@lab/run/user/7/docker.sock"),
        ("tcp://127.0.0.1:4000", "tcp://127.0.0.1:4000"),
        ("tcp://localhost", "tcp://localhost:2375"),
        ("http://[::1]:1", "tcp://[::1]:1"),
    ],
)
def test_addresses(home: dict[str, str], text: str, address: str) -> None:
    found = find_place(None, {**home, "DOCKER_HOST": text})
    assert found.address == address.format(default=places.DOCKER_SOCKET)
    assert found.remote is not text.startswith("unix:")


@pytest.mark.parametrize(
    "text",
    [
        "lab",
        "unix://",
        "npipe:////./pipe/docker",
        "tcp://",
        "tcp://lab:port",
        "tcp://127.0.0.1:1/path",
        "tcp://me@127.0.0.1:1",
        "tcp://[::1",
        "ssh://",
        "ssh://-oProxyCommand=touch/x",
        "ssh://-l@lab",
        "ssh://lab;id",
        "ssh://lab/a:b",
    ],
)
def test_no_address_of_an_engine(home: dict[str, str], text: str) -> None:
    with pytest.raises(UsageError) as error:
        find_place(None, {**home, "DOCKER_HOST": text})
    assert "DOCKER_HOST is no address of an engine" in message(error)


@pytest.mark.parametrize("text", ["tcp://me:hunter2@127.0.0.1:1", "ssh://me:hunter2@lab"])
def test_a_password_in_an_address_is_refused_and_not_shown(home: dict[str, str], text: str) -> None:
    with pytest.raises(UsageError) as error:
        find_place(None, {**home, "DOCKER_HOST": text})
    assert "hunter2" not in message(error)


@pytest.mark.parametrize("host", ["lab", "192.0.2.1", "127.0.0.1.example.invalid", "[2001:db8::1]"])
def test_plain_tcp_to_elsewhere_is_refused_unless_forced(home: dict[str, str], host: str) -> None:
    home["DOCKER_HOST"] = f"tcp://{host}:2375"
    with pytest.raises(UsageError, match="without encryption") as error:
        find_place(None, home)
    assert "REPRORUN_INSECURE_ENGINE=1" in message(error)
    assert (
        find_place(None, {**home, "REPRORUN_INSECURE_ENGINE": "1"}).address == home["DOCKER_HOST"]
    )
    with pytest.raises(UsageError):
        find_place(None, {**home, "REPRORUN_INSECURE_ENGINE": "0"})


# ---------------------------------------------------------------- TLS


def certificates(directory: Path, *names: str) -> str:
    directory.mkdir()
    for name in names:
        (directory / name).write_text("PEM")
    return str(directory)


@pytest.mark.parametrize("asked", ["DOCKER_TLS_VERIFY", "DOCKER_TLS", ""])
def test_tls_by_variables_is_verified(home: dict[str, str], tmp_path: Path, asked: str) -> None:
    place = certificates(tmp_path / "tls", "ca.pem", "cert.pem", "key.pem")
    home |= {
        "DOCKER_HOST": "tcp://lab",
        "DOCKER_CERT_PATH": place,
        **({asked: "1"} if asked else {}),
    }
    found = find_place(None, home)
    assert found.address == "tcp://lab:2376"
    assert found.tls == Tls(
        ca=f"{place}/ca.pem", cert=f"{place}/cert.pem", key=f"{place}/key.pem", verify=True
    )


def test_tls_without_a_file(home: dict[str, str], tmp_path: Path) -> None:
    place = certificates(tmp_path / "tls", "ca.pem", "cert.pem")
    home |= {"DOCKER_HOST": "tcp://lab", "DOCKER_CERT_PATH": place, "DOCKER_TLS_VERIFY": "1"}
    with pytest.raises(UsageError, match=r"has no key\.pem that can be read") as error:
        find_place(None, home)
    assert place in message(error)


def test_the_certificates_of_a_context(home: dict[str, str]) -> None:
    write_context(home, "lab", {"Host": "tcp://lab:1"}, ("ca.pem", "cert.pem", "key.pem"))
    found = find_place(None, {**home, "DOCKER_CONTEXT": "lab"})
    assert found.tls is not None
    assert found.tls.verify
    assert [Path(str(p)).name for p in (found.tls.ca, found.tls.cert, found.tls.key)] == [
        "ca.pem",
        "cert.pem",
        "key.pem",
    ]


def test_a_context_whose_certificate_is_not_verified(home: dict[str, str]) -> None:
    write_context(home, "lab", {"Host": "tcp://lab:1", "SkipTLSVerify": True}, ("ca.pem",))
    home["DOCKER_CONTEXT"] = "lab"
    with pytest.raises(UsageError, match="would not be verified"):
        find_place(None, home)
    tls = find_place(None, {**home, "REPRORUN_INSECURE_ENGINE": "1"}).tls
    assert tls is not None
    assert not tls.verify


def test_half_a_pair(home: dict[str, str]) -> None:
    write_context(home, "lab", {"Host": "tcp://lab:1"}, ("ca.pem", "cert.pem"))
    with pytest.raises(UsageError, match=r"one of cert\.pem and key\.pem"):
        find_place(None, {**home, "DOCKER_CONTEXT": "lab"})


# ---------------------------------------------------------------- docker's configuration


def test_a_context_that_does_not_exist(home: dict[str, str]) -> None:
    with pytest.raises(UsageError, match="no docker context 'lab', which DOCKER_CONTEXT names"):
        find_place(None, {**home, "DOCKER_CONTEXT": "lab"})
    use_context(home, "gone")
    with pytest.raises(UsageError, match="no docker context 'gone'") as error:
        find_place(None, home)
    assert "config.json" in message(error)


@pytest.mark.parametrize("text", ["{", "[]", "[" * 100_000, '{"currentContext": {"a": 1}}'])
def test_a_damaged_configuration(home: dict[str, str], text: str) -> None:
    Path(home["DOCKER_CONFIG"]).mkdir()
    (Path(home["DOCKER_CONFIG"]) / "config.json").write_text(text)
    with pytest.raises((EngineError, UsageError)) as error:
        find_place(None, home)
    message(error)


@pytest.mark.parametrize("endpoint", [[], {"Host": 7}, "unix:///x"])
def test_a_damaged_context(home: dict[str, str], endpoint: Any) -> None:
    write_context(home, "lab", endpoint)
    with pytest.raises(EngineError, match="no address of an engine"):
        find_place(None, {**home, "DOCKER_CONTEXT": "lab"})


def test_a_context_without_an_address(home: dict[str, str]) -> None:
    write_context(home, "lab", {})
    assert find_place(None, {**home, "DOCKER_CONTEXT": "lab"}).by == "the default socket"


# ---------------------------------------------------------------- ssh


@pytest.mark.parametrize(
    ("said", "found", "remedy"),
    [
        (
            "@ WARNING: REMOTE HOST IDENTIFICATION HAS CHANGED! @\nHost key verification failed.",
            "the host key of [lab]:2222 has changed",
            "ssh-keygen -R '[lab]:2222'",
        ),
        (
            "No ED25519 host key is known for lab.\nHost key verification failed.",
            "the host key of [lab]:2222 is not known here",
            "ssh -p 2222 me@lab",
        ),
        ("me@lab: Permission denied (publickey).", "lab does not let us in", "ssh -p 2222 me@lab"),
        ("connect to host lab port 2222: Connection refused", "lab can't be reached", "refused"),
        ("", "it does not answer", "ssh -p 2222 me@lab"),
    ],
)
def test_what_ssh_says(said: str, found: str, remedy: str) -> None:
    text = ssh.explain("ssh://me@lab:2222/run/docker.sock", said)
    assert len(text.splitlines()) == 2
    assert found in text
    assert remedy in text


def test_no_ssh_here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(EngineUnavailable, match="ssh can't be started"):
        ssh.Tunnel("ssh://lab/run/docker.sock")


def test_nothing_stays_of_a_tunnel_that_does_not_stand(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = tmp_path / "tmp"
    place.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(place))
    program = tmp_path / "ssh"
    program.write_text("#!/bin/sh\necho 'me@lab: Permission denied (publickey).' >&2\nexit 255\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/bin:/usr/bin")
    with pytest.raises(EngineUnavailable, match="does not let us in"):
        ssh.Tunnel("ssh://lab/run/docker.sock")
    assert list(place.iterdir()) == []
