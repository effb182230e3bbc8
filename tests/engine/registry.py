"""A real image registry on this machine for tests: Debian's `docker-registry`.

    with registry(tmp_path) as registry:
        digest = registry.push("lab/python:1", "FROM reprorun-base:3.9")
        ... registry.ref("lab/python:1"), registry.requests() ...

Engines speak to loopback without TLS. What was pushed and pulled is gone from the engine at the
end.
"""

from __future__ import annotations

import base64
import http.client
import io
import re
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import docker
import pytest

from .bench import client

USER = "lab"
PASSWORD = "open-sesame-of-the-registry"
_BCRYPT = "$2b$04$M1hK.wG7w0vvhFQzelr2QuuzjeVOoyxvKvH00BUZVY.Vs6mKGrd0S"  # of the password
_CONFIG = """\
version: 0.1
log: {level: info}
storage:
  filesystem: {rootdirectory: PLACE/store}
  delete: {enabled: true}
http: {addr: "127.0.0.1:0", secret: of-no-use-for-one-registry}
"""
_AUTH = "auth: {htpasswd: {realm: lab, path: PLACE/htpasswd}}\n"
_LISTENING = re.compile(r"listening on 127\.0\.0\.1:(\d+)")
_REQUEST = re.compile(r'"((?:GET|HEAD|POST|PUT|PATCH|DELETE) \S+) HTTP/')
PATIENCE = 20  # seconds until it listens


class Registry:
    """A registry that runs.

    Args:
        place: an empty directory for its configuration, its log and what it stores.
        login: whether it wants USER and PASSWORD for everything.
    """

    def __init__(self, place: Path, *, login: bool = False) -> None:
        program = shutil.which("docker-registry")
        if program is None:
            pytest.fail("docker-registry is missing: scripts/test installs it (Debian's package)")
        self._login = login
        self._log = place / "log"
        config = place / "config.yml"
        config.write_text((_CONFIG + (_AUTH if login else "")).replace("PLACE", str(place)))
        (place / "htpasswd").write_text(f"{USER}:{_BCRYPT}\n")
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(
                [program, "serve", str(config)],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
            )
        self.host = f"127.0.0.1:{self._port()}"

    def ref(self, name: str) -> str:
        """A repository, with tag or digest, as engines name it."""
        return f"{self.host}/{name}"

    def requests(self) -> list[str]:
        """What it was asked since it began."""
        return _REQUEST.findall(self._log.read_text(errors="replace"))

    def push(self, name: str, dockerfile: str) -> str:
        """Build an image, push it by that name and take it from the engine: its digest.

        The name stands for another image from now on where one was pushed before.
        """
        ref = self.ref(name)
        context = {"fileobj": io.BytesIO(dockerfile.encode()), "tag": ref, "rm": True}
        with client() as engine:
            engine.images.build(**context)
            login = {"username": USER, "password": PASSWORD} if self._login else None
            events = engine.images.push(ref, auth_config=login, stream=True, decode=True)
            said = list(events)
            digests = [e["aux"]["Digest"] for e in said if "Digest" in e.get("aux", {})]
            assert digests, said
        self.forget()
        return str(digests[0])

    def delete(self, name: str, digest: str) -> None:
        """Remove an image from the registry."""
        repository = name.partition(":")[0]
        headers = {}
        if self._login:
            token = base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode()
            headers["Authorization"] = f"Basic {token}"
        connection = http.client.HTTPConnection(self.host, timeout=PATIENCE)
        connection.request("DELETE", f"/v2/{repository}/manifests/{digest}", headers=headers)
        answer = connection.getresponse()
        connection.close()
        assert answer.status == 202, answer.status

    def forget(self) -> None:
        """Take everything of this registry from the engine."""
        with client() as engine:
            names = [n for i in engine.api.images() for n in _names(i) if self._is_ours(n)]
            for name in names:
                try:
                    engine.images.remove(name, force=True)
                except docker.errors.ImageNotFound:
                    continue  # the digest went with the last tag

    def _is_ours(self, name: str) -> bool:
        return name.startswith(f"{self.host}/")

    def stop(self) -> None:
        """From now on connections are refused."""
        if self._process.poll() is None:
            self._process.terminate()
            try:
                self._process.wait(PATIENCE)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()

    def _port(self) -> int:
        end = time.monotonic() + PATIENCE
        while time.monotonic() < end and self._process.poll() is None:
            if found := _LISTENING.search(self._log.read_text(errors="replace")):
                return int(found[1])
            time.sleep(0.02)
        self.stop()
        pytest.fail(f"docker-registry did not come up: {self._log.read_text()[-2000:]}")


def _names(listed: dict[str, list[str] | None]) -> list[str]:
    """The names of an image in the engine's list; `<none>` stands for none."""
    found = [*(listed.get("RepoTags") or ()), *(listed.get("RepoDigests") or ())]
    return [name for name in found if "<none>" not in name]


@contextmanager
def registry(place: Path, *, login: bool = False) -> Iterator[Registry]:
    """A registry that keeps everything in a directory; see `Registry`."""
    place.mkdir(parents=True, exist_ok=True)
    made = Registry(place, login=login)
    try:
        yield made
    finally:
        made.stop()
        made.forget()
