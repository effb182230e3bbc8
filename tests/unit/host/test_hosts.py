"""The file of host names of runs without network: there while they last, and only then."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from msgspec.structs import replace

from reprorun.engine.docker_values import hosts_of, is_networkless
from reprorun.model import ContainerSpec, EngineInfo, Mount, Record, SchemaMark
from reprorun.workflow.keeper import Keeper

FILE = ".reprorun-hosts.tmp"
DOCKER = EngineInfo(name="docker", version="20", api_version="1.41")
PODMAN = EngineInfo(name="podman", version="4", api_version="1.41")


def record() -> Record:
    """One that has just begun."""
    return Record(
        reprorun=SchemaMark(version="1"), id="x", status="created", created="2024-01-01", argv=()
    )


def test_it_can_be_read_by_whoever_the_container_runs_as(tmp_path: Path) -> None:
    before = os.umask(0o077)
    try:
        Keeper(str(tmp_path), record()).begin()
    finally:
        os.umask(before)
    assert (tmp_path / FILE).stat().st_mode & 0o777 == 0o644
    assert (tmp_path / FILE).read_text().startswith("127.0.0.1 localhost\n")


def test_it_goes_when_the_record_is_finished(tmp_path: Path) -> None:
    keeper = Keeper(str(tmp_path), record())
    keeper.begin()
    keeper.free_reserve()
    assert sorted(os.listdir(tmp_path)) == ["run.json"]


def test_it_goes_when_the_run_could_not_be_made(tmp_path: Path) -> None:
    keeper = Keeper(str(tmp_path), record())
    keeper.begin()
    with pytest.raises(RuntimeError), keeper.telling_failures():
        raise RuntimeError
    assert sorted(os.listdir(tmp_path)) == ["run.json"]


@pytest.mark.parametrize(
    ("network", "hosts", "info", "wanted"),
    [
        ("none", "/log/hosts", DOCKER, (Mount(source="/log/hosts", target="/etc/hosts"),)),
        ("none", "", DOCKER, ()),
        ("bridge", "/log/hosts", DOCKER, ()),
        ("host", "/log/hosts", DOCKER, ()),
        ("none", "/log/hosts", PODMAN, ()),
    ],
)
def test_only_docker_without_network_is_given_one(
    network: str, hosts: str, info: EngineInfo, wanted: tuple[Mount, ...]
) -> None:
    spec = ContainerSpec(image="x", command=(), name="x", hosts=hosts, network=network)  # type: ignore[arg-type]
    assert hosts_of(spec, info) == wanted
    assert is_networkless(spec, info) == bool(wanted)
    copied = replace(spec, hosts="", own_hosts=bool(hosts))
    assert hosts_of(copied, info) == ()
    assert is_networkless(copied, info) == bool(wanted)
