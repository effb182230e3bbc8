"""Ways to engines, as users have them: a real sshd, and one that listens with TLS."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from .bench import socket_path
from .daemon import daemon, hand_over

PATIENCE = 20  # seconds until sshd answers
SOCKET = socket_path()  # of now: tests set DOCKER_HOST


def free_port() -> int:
    """A port of this machine that nobody listens at."""
    with socket.socket() as tried:
        tried.bind(("127.0.0.1", 0))
        return int(tried.getsockname()[1])


def program(name: str, package: str) -> str:
    """A program that the test can't do without."""
    found = shutil.which(name, path=f"{os.environ['PATH']}:/usr/sbin:/sbin")
    if found is None:
        pytest.fail(f"{name} is missing: apt-get install {package}")
    return found


# ---------------------------------------------------------------- ssh


class Sshd:
    """An sshd on loopback, and a home from which it can be reached.

    Args:
        place: a short path; everything lies in it.
    """

    def __init__(self, place: Path) -> None:
        self.place = place
        self.port = free_port()
        self.user = os.environ.get("USER") or subprocess.getoutput("id -un")
        self.known = place / "known_hosts"
        self.config = place / "config"  # of the user's ssh
        self._process: subprocess.Popen[bytes] | None = None
        self._make_key("host")
        self._make_key("user")
        shutil.copy(place / "user.pub", place / "authorized_keys")

    @property
    def address(self) -> str:
        """For DOCKER_HOST."""
        return f"ssh://{self.user}@127.0.0.1:{self.port}{SOCKET}"

    @property
    def env(self) -> dict[str, str]:
        """Variables with which the user's ssh finds its configuration."""
        programs = self.place / "bin"
        return {"PATH": f"{programs}:{os.environ['PATH']}", "DOCKER_HOST": self.address}

    def start(self, *options: str) -> None:
        """Start it with its key of now."""
        Path("/run/sshd").mkdir(exist_ok=True)
        config = self.place / "sshd_config"
        config.write_text(
            f"Port {self.port}\nListenAddress 127.0.0.1\nHostKey {self.place}/host\n"
            f"AuthorizedKeysFile {self.place}/authorized_keys\nPidFile none\nStrictModes no\n"
            "PasswordAuthentication no\nKbdInteractiveAuthentication no\nUsePAM no\n"
            + "".join(f"{option}\n" for option in options)
        )
        with (self.place / "sshd.log").open("ab") as log:
            command = [program("sshd", "openssh-server"), "-D", "-e", "-f", str(config)]
            self._process = subprocess.Popen(command, stdout=log, stderr=log)
        _wait_for(self.port)

    def stop(self) -> None:
        """End it, and all connections to it."""
        if self._process:
            subprocess.run(["pkill", "-P", str(self._process.pid)], check=False)
            self._process.terminate()
            self._process.wait()
            self._process = None

    def trust(self) -> None:
        """Let the user know its key of now."""
        kind, key, *_ = (self.place / "host.pub").read_text().split()
        self.known.write_text(f"[127.0.0.1]:{self.port} {kind} {key}\n")

    def change_key(self) -> None:
        """Another key, as another machine would have. It has to be started anew."""
        (self.place / "host").unlink()
        (self.place / "host.pub").unlink()
        self._make_key("host")

    def share(self, *options: str) -> None:
        """Let the user's ssh share connections.

        Args:
            options: beside ControlPath.
        """
        with self.config.open("a") as config:
            config.write(f"  ControlPath {self.place}/shared\n")
            config.writelines(f"  {option}\n" for option in options)

    def ask(self, *words: str) -> subprocess.CompletedProcess[str]:
        """What the user's ssh says for this host, such as to `-O check`."""
        whom = ("-l", self.user, "-p", str(self.port), "127.0.0.1")
        return subprocess.run(
            [self.place / "bin" / "ssh", *words, *whom],
            capture_output=True, text=True, check=False, timeout=PATIENCE,
        )  # fmt: skip

    def write_ssh(self) -> None:
        """The user's configuration: ssh reads it from the home of the password file, so wrap it."""
        self.config.write_text(
            f"Host *\n  IdentityFile {self.place}/user\n  IdentitiesOnly yes\n"
            f"  UserKnownHostsFile {self.known}\n  GlobalKnownHostsFile /dev/null\n"
            "  StrictHostKeyChecking no\n"  # careless: it must not count
        )
        programs = self.place / "bin"
        programs.mkdir()
        wrapper = programs / "ssh"
        wrapper.write_text(
            f'#!/bin/sh\nexec {program("ssh", "openssh-client")} -F {self.config} "$@"\n'
        )
        wrapper.chmod(0o755)

    def _make_key(self, name: str) -> None:
        path = self.place / name
        command = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(path)]
        subprocess.run(command, check=True)


def _wait_for(port: int) -> None:
    end = time.monotonic() + PATIENCE
    while time.monotonic() < end:
        with socket.socket() as tried, suppress(OSError):
            tried.connect(("127.0.0.1", port))
            return
        time.sleep(0.05)
    pytest.fail(f"sshd does not answer at port {port}")


@contextmanager
def running_sshd() -> Iterator[Sshd]:
    """An sshd that the user knows and that lets the user in."""
    place = Path(tempfile.mkdtemp(prefix="reprorun-sshd-"))
    made = Sshd(place)
    try:
        made.write_ssh()
        made.trust()
        made.start()
        yield made
    finally:
        made.ask("-O", "exit")  # of a connection that is shared
        made.stop()
        shutil.rmtree(place)


# ---------------------------------------------------------------- TLS


def make_certificates(place: Path, name: str = "127.0.0.1") -> Path:
    """An authority of its own, with a certificate for a host and one for a user."""
    place.mkdir(parents=True)
    openssl = program("openssl", "openssl")

    def run(*words: str) -> None:
        subprocess.run([openssl, *words], cwd=place, check=True, capture_output=True)

    new_key = ("-newkey", "rsa:2048", "-nodes", "-sha256")
    constraints = ("-addext", "basicConstraints=critical,CA:TRUE")
    run("req", "-x509", *new_key, "-days", "2", "-subj", "/CN=test authority", *constraints,
        "-keyout", "ca-key.pem", "-out", "ca.pem")  # fmt: skip
    for who, extension in (
        ("host", f"subjectAltName=IP:{name}\nextendedKeyUsage=serverAuth\n"),
        ("user", "extendedKeyUsage=clientAuth\n"),
    ):
        (place / f"{who}.ext").write_text(extension)
        run("req", *new_key, "-subj", f"/CN={who}", "-keyout", f"{who}-key.pem", "-out", "csr")
        run("x509", "-req", "-in", "csr", "-CA", "ca.pem", "-CAkey", "ca-key.pem", "-days", "2",
            "-CAcreateserial", "-extfile", f"{who}.ext", "-out", f"{who}.pem")  # fmt: skip
    shutil.copy(place / "user.pem", place / "cert.pem")
    shutil.copy(place / "user-key.pem", place / "key.pem")
    return place


@contextmanager
def tls_daemon(certificates: Path, *images: str) -> Iterator[str]:
    """An engine that listens with TLS, on loopback; yields its address for DOCKER_HOST.

    Who has no certificate of the authority is not let in.

    Args:
        certificates: as `make_certificates` makes them.
        images: of the tests' engine, that it is to have.
    """
    arguments = (
        *("--tlsverify", "--tlscacert", str(certificates / "ca.pem")),
        *("--tlscert", str(certificates / "host.pem")),
        *("--tlskey", str(certificates / "host-key.pem")),
    )
    with (
        socket.create_server(("127.0.0.1", 0)) as listener,
        daemon(arguments, listener=listener) as made,
    ):
        for image in images:
            hand_over(image, made.address)
        yield f"tcp://127.0.0.1:{listener.getsockname()[1]}"
