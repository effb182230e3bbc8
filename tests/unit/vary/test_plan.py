"""A run's container with circumstances varied, and with numbers that are the same everywhere."""

from __future__ import annotations

import json

import pytest

from reprorun.experiment.varied import VARIABLE
from reprorun.model import HOSTNAME, ContainerSpec, RunSpec, Variation
from reprorun.vary.numerics import GENERATIONS, portable

from ..host import values


def container(spec: RunSpec | None = None) -> ContainerSpec:
    return values.plan(spec or values.spec()).container


def test_nothing_is_varied_unless_it_is_asked_for() -> None:
    plain = container()
    assert VARIABLE not in plain.env
    assert "OMP_NUM_THREADS" not in plain.env
    assert (plain.groups, plain.cpuset, plain.hostname) == ((), "", HOSTNAME)


def test_the_hosts_network_comes_with_its_name() -> None:
    assert container(values.spec(network="host")).hostname == ""


def test_what_is_varied_counts_more_than_what_was_given() -> None:
    variations = (
        Variation(factor="timezone", value="EST5EDT"),
        Variation(factor="hostname", value="other"),
        Variation(factor="cpus", value="2"),
        Variation(factor="dirorder", value="sorted"),
    )
    found = container(values.spec(env={"TZ": "UTC", "A": "1"}, variations=variations))
    assert (found.env["TZ"], found.env["A"]) == ("EST5EDT", "1")
    assert (found.hostname, found.cpuset) == ("other", "0-1")
    assert json.loads(found.env[VARIABLE]) == {"cpus": 2, "order": "sorted"}


def test_variations_change_the_container_and_not_the_image() -> None:
    varied = values.spec(variations=(Variation(factor="umask", value="077"),), numerics="portable")
    assert values.plan(varied).run_digest == values.plan().run_digest
    assert values.plan(varied).environment == values.plan().environment


def test_portable_numbers() -> None:
    env = container(values.spec(numerics="portable")).env
    assert env["OPENBLAS_CORETYPE"] == "Haswell"
    assert env["MKL_CBWR"] == "AVX2,STRICT"
    assert {env[name] for name in env if name.endswith("_NUM_THREADS")} == {"1"}
    assert "AVX512F" in env["NPY_DISABLE_CPU_FEATURES"].split()
    assert "X86_V4" in env["NPY_DISABLE_CPU_FEATURES"].split()
    assert not {"AVX2", "FMA3", "X86_V3"} & set(env["NPY_DISABLE_CPU_FEATURES"].split())
    assert "-AVX512F" in env["GLIBC_TUNABLES"]
    assert "AVX2" not in env["GLIBC_TUNABLES"].replace("AVX512", "")


def test_a_variable_that_the_user_sets_stays() -> None:
    env = container(values.spec(numerics="portable", env={"OMP_NUM_THREADS": "4"})).env
    assert (env["OMP_NUM_THREADS"], env["OPENBLAS_NUM_THREADS"]) == ("4", "1")


@pytest.mark.parametrize("generation", GENERATIONS)
def test_portable_numbers_don_t_follow_the_processor(generation: str) -> None:
    variations = (
        Variation(factor="instructions", value=generation),
        Variation(factor="threads", value="7"),
    )
    varied = container(values.spec(numerics="portable", variations=variations))
    assert varied.env == container(values.spec(numerics="portable")).env
    assert container(values.spec(variations=variations)).env != varied.env


@pytest.mark.parametrize("machine", ["x86_64", "aarch64", "riscv64"])
def test_one_thread_on_every_architecture(machine: str) -> None:
    assert portable(machine)["OPENBLAS_NUM_THREADS"] == "1"
    assert (portable(machine).get("OPENBLAS_CORETYPE") == "Haswell") is (machine == "x86_64")
