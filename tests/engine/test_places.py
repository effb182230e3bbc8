"""The engine over ssh, over TLS and by docker's contexts: the real one, on ways as users have."""

from __future__ import annotations

import hashlib
import http.server
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import msgspec
import pytest

from reprorun.engine import Engine, connect
from reprorun.errors import EngineUnavailable, FilesUnseen, UsageError
from reprorun.model import ContainerSpec, Mount
from reprorun.workflow.same_files import sees_our_files

from ..kit import BASE
from .bench import Bench, containers_of, one_message
from .proxy import proxy
from .ways import SOCKET, Sshd, make_certificates, running_sshd, tls_daemon

Reach = Callable[..., Engine]


@pytest.fixture
def reach(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Reach:
    """Connects with some variables, and without docker's configuration of this machine."""
    for name in [name for name in os.environ if name.startswith("DOCKER_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path / "docker"))

    def start(env: dict[str, str], **more: Any) -> Engine:
        for name, value in env.items():
            monkeypatch.setenv(name, value)
        return connect(**more)

    return start


@pytest.fixture
def sshd() -> Iterator[Sshd]:
    with running_sshd() as made:
        yield made


def refused(error: pytest.ExceptionInfo[Any]) -> str:
    text = str(error.value)
    assert 1 <= len(text.splitlines()) <= 2
    return text


def wanted(script: str, *, interactive: bool = False) -> ContainerSpec:
    name = f"reprorun-test-{os.urandom(6).hex()}"
    return ContainerSpec(
        image=BASE, command=("sh", "-c", script), name=name, workdir="/tmp",
        labels={"reprorun": "test"}, interactive=interactive,
    )  # fmt: skip


def tunnels() -> list[str]:
    """Sockets that tunnels have left or use."""
    place = Path(tempfile.gettempdir())
    return [str(path) for path in place.glob("reprorun-scratch-*/engine.sock")]


def use(engine: Engine) -> None:
    """Output, input to its end, and a file: all that a connection has to carry."""
    container = engine.create(wanted("cat; echo end >&2; echo kept >x; exit 3", interactive=True))
    with closing(engine.converse(container)) as conversation:
        engine.start(container)
        conversation.send(b"x" * 300_000)
        conversation.send_end()
        printed = list(conversation)
    assert b"".join(data for stream, data in printed if stream == "stdout") == b"x" * 300_000
    assert b"".join(data for stream, data in printed if stream == "stderr") == b"end\n"
    assert engine.wait(container).exit_code == 3
    assert b"kept" in b"".join(engine.copy_out(container, "/tmp/x"))
    engine.remove(container)


# ---------------------------------------------------------------- ssh


def test_over_ssh(sshd: Sshd, reach: Reach) -> None:
    before = tunnels()
    with closing(reach(sshd.env)) as engine:
        info = engine.info()
        assert (info.name, info.address, info.named_by) == ("docker", sshd.address, "DOCKER_HOST")
        assert info.remote
        use(engine)
        made = set(tunnels()).difference(before)
        assert made
    assert not made.intersection(tunnels())


def test_a_host_key_that_changed_is_refused(sshd: Sshd, reach: Reach) -> None:
    sshd.stop()
    sshd.change_key()
    sshd.start()
    known = sshd.known.read_text()
    with pytest.raises(EngineUnavailable, match="has changed") as error:
        reach(sshd.env)
    assert f"ssh-keygen -R '[127.0.0.1]:{sshd.port}'" in refused(error)
    assert sshd.known.read_text() == known


def test_a_host_key_that_is_not_known_is_refused(sshd: Sshd, reach: Reach) -> None:
    sshd.known.write_text("")
    with pytest.raises(EngineUnavailable, match="is not known here") as error:
        reach(sshd.env)
    assert f"ssh -p {sshd.port} {sshd.user}@127.0.0.1" in refused(error)
    assert sshd.known.read_text() == ""


def test_a_user_whom_the_host_does_not_know(sshd: Sshd, reach: Reach) -> None:
    (sshd.place / "authorized_keys").write_text("")
    with pytest.raises(EngineUnavailable, match="does not let us in") as error:
        reach(sshd.env)
    refused(error)


def test_a_host_that_does_not_answer(sshd: Sshd, reach: Reach) -> None:
    sshd.stop()
    with pytest.raises(EngineUnavailable, match="can't be reached by ssh") as error:
        reach(sshd.env)
    assert "refused" in refused(error)


def test_a_host_without_an_engine_there(sshd: Sshd, reach: Reach) -> None:
    address = f"ssh://{sshd.user}@127.0.0.1:{sshd.port}/run/no-such.sock"
    with pytest.raises(
        EngineUnavailable, match=r"no engine answers at /run/no-such\.sock"
    ) as error:
        reach({**sshd.env, "DOCKER_HOST": address})
    refused(error)


def test_a_host_that_forwards_nothing(sshd: Sshd, reach: Reach) -> None:
    sshd.stop()
    sshd.start("AllowStreamLocalForwarding no")
    with pytest.raises(EngineUnavailable, match="ssh is through, but no engine") as error:
        reach(sshd.env)
    refused(error)


def test_a_connection_that_breaks(
    sshd: Sshd, reach: Reach, monkeypatch: pytest.MonkeyPatch
) -> None:
    with closing(reach(sshd.env)) as engine:
        container = engine.create(wanted("sleep 60"))
        engine.start(container)
        threading.Timer(0.5, sshd.stop).start()
        try:
            with pytest.raises(EngineUnavailable) as error:
                engine.wait(container)
            refused(error)
        finally:
            monkeypatch.setenv("DOCKER_HOST", f"unix://{SOCKET}")
            with closing(connect()) as near:
                near.remove(container)


def test_no_ssh_outlives_a_process_that_is_killed(sshd: Sshd) -> None:
    script = (
        "import time\nfrom reprorun.engine import connect\nengine = connect()\n"
        "print('ready', flush=True)\ntime.sleep(60)\n"
    )
    env = {**os.environ, **sshd.env, "TMPDIR": str(sshd.place)}  # an empty directory stays there
    process = subprocess.Popen([sys.executable, "-c", script], env=env, stdout=subprocess.PIPE)
    assert process.stdout is not None
    assert process.stdout.readline() == b"ready\n"
    assert of_port(sshd.port)
    process.send_signal(signal.SIGKILL)
    process.wait()
    process.stdout.close()
    end = time.monotonic() + 10
    while of_port(sshd.port) and time.monotonic() < end:
        time.sleep(0.1)
    assert of_port(sshd.port) == []


# ---------------------------------------------------------------- a shared connection


PERSIST = ("ControlMaster auto", "ControlPersist 60")


def is_shared(sshd: Sshd) -> bool:
    return sshd.ask("-O", "check").returncode == 0


def logins(sshd: Sshd) -> int:
    return (sshd.place / "sshd.log").read_text().count("Accepted publickey")


def listening(sshd: Sshd) -> bool:
    """Whether anybody listens at a tunnel's socket, also at one that has lost its path."""
    lines = Path("/proc/net/unix").read_text().splitlines()
    return any(f"{sshd.place}/reprorun-scratch-" in line for line in lines)


@pytest.fixture
def ours_are_there(sshd: Sshd, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The sockets of our tunnels lie beside the sshd, apart from those of others.

    The directory of the tests is made by then, and is not removed with it.
    """
    monkeypatch.setattr("tempfile.tempdir", str(sshd.place))


@pytest.mark.usefixtures("ours_are_there")
def test_a_connection_that_stays_is_shared(sshd: Sshd, reach: Reach) -> None:
    sshd.share(*PERSIST)
    for _ in range(2):
        with closing(reach(sshd.env)) as engine:
            use(engine)
            assert listening(sshd)
        assert is_shared(sshd)
        assert not listening(sshd)
    assert logins(sshd) == 1
    assert sshd.ask("-O", "exit").returncode == 0
    assert of_port(sshd.port) == []


def test_the_forwardings_of_the_user_stay(sshd: Sshd, reach: Reach) -> None:
    users = sshd.place / "users.sock"
    sshd.share(*PERSIST, f"LocalForward {users} {SOCKET}")
    with closing(reach(sshd.env)) as engine:
        use(engine)
    with socket.socket(socket.AF_UNIX) as link:
        link.connect(str(users))


def test_a_connection_that_would_end_with_us_is_not_shared(sshd: Sshd, reach: Reach) -> None:
    sshd.share("ControlMaster auto")
    with closing(reach(sshd.env)) as engine:
        use(engine)
        assert not is_shared(sshd)
    assert of_port(sshd.port) == []


@pytest.mark.usefixtures("ours_are_there")
def test_a_connection_of_the_user_is_taken(sshd: Sshd, reach: Reach) -> None:
    sshd.share()
    assert sshd.ask("-M", "-N", "-f", "-o", "ControlPersist=yes", "-E", "/dev/null").returncode == 0
    with closing(reach(sshd.env)) as engine:
        use(engine)
    assert (is_shared(sshd), logins(sshd), listening(sshd)) == (True, 1, False)


def test_a_shared_connection_that_is_gone(sshd: Sshd, reach: Reach) -> None:
    """What it left behind, such as its socket after a crash, is no hindrance."""
    sshd.share(*PERSIST)
    with socket.socket(socket.AF_UNIX) as crashed:
        crashed.bind(str(sshd.place / "shared"))
    with closing(reach(sshd.env)) as engine:
        use(engine)


def test_a_killed_process_does_not_end_a_shared_connection(sshd: Sshd, reach: Reach) -> None:
    sshd.share(*PERSIST)
    script = "import os\nfrom reprorun.engine import connect\nengine = connect()\nos.kill(0, 9)\n"
    env = {**os.environ, **sshd.env, "TMPDIR": str(sshd.place)}
    done = subprocess.run([sys.executable, "-c", script], env=env, check=False,
                          start_new_session=True, timeout=60)  # fmt: skip
    assert done.returncode == -signal.SIGKILL
    assert is_shared(sshd)
    with closing(reach(sshd.env)) as engine:
        use(engine)
    assert logins(sshd) == 1


def test_no_connection_to_a_stranger_is_shared(sshd: Sshd, reach: Reach) -> None:
    sshd.share(*PERSIST)
    sshd.known.write_text("")
    with pytest.raises(EngineUnavailable, match="is not known here"):
        reach(sshd.env)
    assert not is_shared(sshd)


def of_port(port: int) -> list[str]:
    """The ssh processes that go to a port."""
    found = []
    for entry in Path("/proc").iterdir():
        try:
            words = (entry / "cmdline").read_bytes().split(b"\0")
        except OSError:
            continue
        if words[0].endswith(b"ssh") and str(port).encode() in words:
            found.append(entry.name)
    return found


# ---------------------------------------------------------------- TLS


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_certificates(tmp_path_factory.mktemp("tls") / "right")


@pytest.fixture(scope="module")
def others(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_certificates(tmp_path_factory.mktemp("tls") / "others")


@pytest.fixture(scope="module")
def address(certificates: Path) -> Iterator[str]:
    """Of an engine that listens with TLS."""
    with tls_daemon(certificates, BASE) as made:
        yield made


def trusting(address: str, certificates: Path) -> dict[str, str]:
    """Variables with which docker's client finds an engine and its certificates."""
    return {"DOCKER_HOST": address, "DOCKER_CERT_PATH": str(certificates)}


def test_over_tls(address: str, certificates: Path, reach: Reach) -> None:
    env = {
        **trusting(address, certificates),
        "DOCKER_TLS_VERIFY": "1",
        # requests would take it in place of the engine's
        "REQUESTS_CA_BUNDLE": "/etc/ssl/certs/ca-certificates.crt",
    }
    with closing(reach(env)) as engine:
        assert engine.info().address == address
        assert engine.info().remote
        use(engine)


def test_output_over_tls_comes_while_it_runs(
    address: str, certificates: Path, reach: Reach
) -> None:
    with closing(reach(trusting(address, certificates))) as engine:
        container = engine.create(wanted("echo first; sleep 30"))
        with closing(engine.attach(container)) as pieces:
            engine.start(container)
            time.sleep(1)  # header and text have come, in one piece
            began = time.monotonic()
            assert next(pieces) == ("stdout", b"first\n")
            assert time.monotonic() - began < 10
        engine.remove(container)


def test_a_run_over_tls(
    address: str, certificates: Path, bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The other engine sees our files: it runs on this machine."""
    bench.write({"train.py": "print('hello')\nopen('x.txt', 'w').write('kept')\n"})
    bench.commit()
    done = bench.exec("train.py", env=trusting(address, certificates))
    assert (done.code, done.out) == (0, "hello\n"), done.err
    assert (done.log_dir / "outputs/x.txt").read_text() == "kept"


def test_a_shell_over_tls(address: str, certificates: Path, bench: Bench) -> None:
    """It reads a pipe to its end, and is heard after that."""
    bench.write({"train.py": "print('hello')\n"})
    bench.commit()
    env = trusting(address, certificates)
    done = bench.exec("train.py", env=env)
    assert done.code == 0, done.err
    data = bench.root.parent / "data"
    data.write_bytes(os.urandom(1 << 20))
    command = ("sh", "-c", "sha256sum; sleep 1; cat train.py; exit 7")
    with data.open() as stdin:
        words = ("shell", "-q", str(done.log_dir), "--", *command)
        said = bench.reprorun(*words, env=env, stdin=stdin.fileno())
    digest = hashlib.sha256(data.read_bytes()).hexdigest()
    assert (said.code, said.out, said.err) == (7, f"{digest}  -\nprint('hello')\n", "")


def test_over_tls_by_a_context(
    address: str, certificates: Path, reach: Reach, tmp_path: Path
) -> None:
    config = tmp_path / "docker"
    files = ",".join(f"{name}={certificates}/{name}.pem" for name in ("ca", "cert", "key"))
    make = ["docker", "context", "create", "lab", "--docker", f"host={address},{files}"]
    env = {**os.environ, "DOCKER_CONFIG": str(config)}
    subprocess.run(make, env=env, check=True, capture_output=True)
    with closing(reach({"DOCKER_CONTEXT": "lab"})) as engine:
        assert engine.info().named_by == "docker context 'lab'"
        assert engine.image(BASE) is not None
    subprocess.run(["docker", "context", "use", "lab"], env=env, check=True, capture_output=True)
    os.environ.pop("DOCKER_CONTEXT")
    with closing(reach({})) as engine:
        assert engine.info().address == address


def test_an_engine_with_a_certificate_of_somebody_else(
    address: str, others: Path, reach: Reach
) -> None:
    with pytest.raises(EngineUnavailable, match="not one to trust") as error:
        reach(trusting(address, others))
    assert "DOCKER_CERT_PATH" in refused(error)


def test_an_engine_that_does_not_take_our_certificate(
    address: str, certificates: Path, others: Path, reach: Reach, tmp_path: Path
) -> None:
    mixed = tmp_path / "mixed"
    mixed.mkdir()
    for source, name in ((certificates, "ca"), (others, "cert"), (others, "key")):
        (mixed / f"{name}.pem").write_bytes((source / f"{name}.pem").read_bytes())
    with pytest.raises(EngineUnavailable) as error:
        reach(trusting(address, mixed))
    assert "certificate" in refused(error)


def test_a_certificate_for_another_name(reach: Reach, tmp_path: Path) -> None:
    made = make_certificates(tmp_path / "name", name="192.0.2.1")
    with (
        tls_daemon(made) as other,
        pytest.raises(EngineUnavailable, match="not one to trust") as error,
    ):
        reach(trusting(other, made))
    refused(error)


def test_files_that_are_no_certificates(address: str, reach: Reach, tmp_path: Path) -> None:
    for name in ("ca", "cert", "key"):
        (tmp_path / f"{name}.pem").write_text("no PEM\n")
    with pytest.raises(EngineUnavailable) as error:
        reach(trusting(address, tmp_path))
    refused(error)


def test_an_engine_that_speaks_tls_when_none_is_meant(address: str, reach: Reach) -> None:
    with pytest.raises(EngineUnavailable, match="speaks TLS") as error:
        reach({"DOCKER_HOST": address})
    assert "DOCKER_CERT_PATH" in refused(error)


# ---------------------------------------------------------------- what is no engine


@contextmanager
def answering(body: bytes, version: str | None = None) -> Iterator[str]:
    """Something that answers every request with the same."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            if version is not None:
                self.send_header("Api-Version", version)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: Any) -> None:
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"tcp://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()


@pytest.mark.parametrize("version", [None, "", "new", "1.41.2", "99999.1"])
def test_something_that_is_no_engine(version: str | None, reach: Reach) -> None:
    with answering(b"OK", version) as address, pytest.raises(EngineUnavailable) as error:
        reach({"DOCKER_HOST": address})
    assert "is no Docker Engine" in refused(error)


@pytest.mark.parametrize("body", [b"hello", b"<html>", b'{"Name": '])
def test_something_that_only_pings_like_an_engine(body: bytes, reach: Reach) -> None:
    with (
        answering(body, "1.41") as address,
        closing(reach({"DOCKER_HOST": address})) as engine,
        pytest.raises(EngineUnavailable, match="sends no JSON") as error,
    ):
        engine.info()
    refused(error)


def test_an_engine_that_is_too_old(reach: Reach) -> None:
    with (
        answering(b"OK", "1.39") as address,
        pytest.raises(EngineUnavailable, match=r"version 1\.39") as error,
    ):
        reach({"DOCKER_HOST": address})
    assert "1.40" in refused(error)


def test_an_engine_of_another_kind_is_no_substitute(reach: Reach) -> None:
    with pytest.raises(EngineUnavailable, match="--engine podman is wanted") as error:
        reach({"DOCKER_HOST": f"unix://{SOCKET}"}, kind="podman")
    assert "docker 20.10" in refused(error) or "docker" in refused(error)


# ---------------------------------------------------------------- the command


def test_a_context_that_does_not_exist(bench: Bench, tmp_path: Path) -> None:
    bench.write({"train.py": "print('never')\n"})
    env = {"DOCKER_CONTEXT": "no-such", "DOCKER_CONFIG": str(tmp_path / "config")}
    done = bench.exec("train.py", env=env)
    assert done.code == 2
    assert "there is no docker context 'no-such'" in one_message(done.err)


def test_doctor_names_the_engine_and_what_named_it(bench: Bench, tmp_path: Path) -> None:
    context = tmp_path / "config/contexts/meta" / hashlib.sha256(b"lab").hexdigest()
    context.mkdir(parents=True)
    told = {"Name": "lab", "Endpoints": {"docker": {"Host": f"unix://{SOCKET}"}}}
    (context / "meta.json").write_text(json.dumps(told))
    env = {"DOCKER_CONTEXT": "lab", "DOCKER_CONFIG": str(tmp_path / "config")}
    done = bench.reprorun("doctor", env=env)
    line = next(line for line in done.out.splitlines() if line.split()[1] == "engine")
    assert f"unix://{SOCKET}" in line
    assert "docker context 'lab'" in line


def test_a_run_over_ssh_to_this_machine(sshd: Sshd, bench: Bench) -> None:
    bench.write({"train.py": "print('hello')\nopen('x.txt', 'w').write('kept')\n"})
    bench.commit()
    done = bench.exec("train.py", env=sshd.env)
    assert (done.code, done.out) == (0, "hello\n"), done.err
    assert (done.log_dir / "outputs/x.txt").read_text() == "kept"
    assert done.record.engine is not None
    assert done.record.engine.name == "docker"


def test_a_host_key_that_changed_ends_the_command(sshd: Sshd, bench: Bench) -> None:
    sshd.stop()
    sshd.change_key()
    sshd.start()
    bench.write({"train.py": "print('never')\n"})
    done = bench.exec("train.py", env=sshd.env)
    assert done.code == 125
    assert "has changed" in one_message(done.err)
    assert not (done.log_dir / "run.json").exists()


@pytest.mark.long
def test_an_engine_that_stops_answering(bench: Bench, tmp_path: Path) -> None:
    bench.write({"train.py": "print('hello')\n"})
    bench.commit()
    assert bench.exec("train.py").code == 0  # the base image has been asked for its Python
    with proxy(tmp_path, hold="/start") as silent:
        done = bench.exec("train.py", env={"DOCKER_HOST": silent.address})
    assert silent.held.is_set()
    assert (done.code, done.out) == (125, "")
    assert f"the engine at {silent.address} does not answer" in one_message(done.err)
    assert done.record.status == "lost"
    assert len(containers_of(done.record.id)) == 1  # it may run by now, for all that we know
    recovered = bench.reprorun("recover")
    assert (recovered.code, "its container was not started" in recovered.out) == (1, True)
    assert containers_of(done.record.id) == []
    assert done.record.status == "lost"


def test_plain_tcp_to_another_machine(bench: Bench) -> None:
    bench.write({"train.py": "print('never')\n"})
    done = bench.exec("train.py", env={"DOCKER_HOST": "tcp://192.0.2.1:2375"})
    assert done.code == UsageError.exit_code
    assert "REPRORUN_INSECURE_ENGINE=1" in one_message(done.err)


def test_a_socket_at_which_nobody_listens(bench: Bench, tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as gone:
        gone.bind(str(tmp_path / "gone.sock"))
    bench.write({"train.py": "print('never')\n"})
    done = bench.exec("train.py", env={"DOCKER_HOST": f"unix://{tmp_path}/gone.sock"})
    assert done.code == 125
    assert "no Docker Engine answers" in one_message(done.err)


# ---------------------------------------------------------------- whose files


def test_whether_the_engine_sees_a_record(sshd: Sshd, reach: Reach, tmp_path: Path) -> None:
    here, there, nothing = tmp_path / "here", tmp_path / "there", tmp_path / "nothing"
    for place, text in ((here, "one"), (there, "other"), (nothing, None)):
        place.mkdir()
        if text:
            (place / "run.json").write_text(text)

    def look(engine: Engine, mounted: Path) -> bool:
        mount = Mount(source=str(mounted), target="/log", read_only=False)
        container = engine.create(msgspec.structs.replace(wanted("true"), mounts=(mount,)))
        try:
            return sees_our_files(engine, container, str(here))
        finally:
            engine.remove(container)

    with closing(reach(sshd.env)) as engine:
        assert [look(engine, mounted) for mounted in (here, there, nothing)] == [True, False, False]
        with pytest.raises(FilesUnseen, match=f"does not see {tmp_path}/gone") as error:
            look(engine, tmp_path / "gone")
        refused(error)
