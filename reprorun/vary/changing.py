"""How each factor is varied: what it was in the original, another value, and what that changes."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timezone
from random import Random

from msgspec.structs import replace

from reprorun.model import ENVIRONMENT, Changes, ContainerSpec, Gpus
from reprorun.vary.container import telling, with_variables
from reprorun.vary.factor import Cannot, Situation
from reprorun.vary.numerics import emulates

FROZEN = "frozen@"  # and a moment: the clock starts there and goes on with each look at it
SORTED = "sorted"
FIRST_UID = 20000  # of those that are made up

# As POSIX writes them, so that they mean something in an image without time zones: name, and hours
# west of Greenwich.
ZONES = ("<+0545>-05:45", "<+1245>-12:45", "<-0330>03:30", "EST5EDT,M3.2.0,M11.1.0", "<-11>11")


def variable(name: str) -> Callable[[Situation], str]:
    def original(situation: Situation) -> str:
        return situation.record.environment.get(name, ENVIRONMENT.get(name, "unset"))

    return original


def setting(*names: str) -> Callable[[ContainerSpec, str], ContainerSpec]:
    return lambda container, value: with_variables(container, dict.fromkeys(names, value))


def another(random: Random, original: str, choices: list[str], why: str) -> str:
    """One of several values that is not the original's."""
    left = [choice for choice in choices if choice != original]
    if not left:
        raise Cannot(why)
    return random.choice(left)


# ---------------------------------------------------------------- processors


def cpus_of(situation: Situation) -> str:
    return str(situation.record.host.cpu_count or situation.cpus)


def choose_cpus(random: Random, situation: Situation) -> str:
    fewer = [str(number) for number in (1, 2) if number <= situation.cpus]
    return another(random, cpus_of(situation), fewer, "the machine has only one processor")


def give_cpus(container: ContainerSpec, value: str) -> ContainerSpec:
    number = int(value)
    bound = replace(container, cpuset="0" if number == 1 else f"0-{number - 1}")
    return telling(bound, cpus=number)


def threads_of(situation: Situation) -> str:
    if situation.record.numerics == "portable":
        return "1"
    return situation.record.environment.get("OMP_NUM_THREADS") or cpus_of(situation)


def choose_instructions(random: Random, situation: Situation) -> str:
    if situation.record.numerics == "portable":
        raise Cannot("--numerics portable pins it")
    if (situation.record.host.machine or "x86_64") != "x86_64":
        raise Cannot("only generations of x86-64 are known")
    if not situation.features:
        raise Cannot("what the processors of the engine's machine can do is not known")
    # none that the machine is itself, and the furthest away that it can run
    known = [name for name in ("nehalem", "haswell") if emulates(name, situation.features)]
    if "avx512f" not in situation.features:
        known = known[:1]
    return another(random, "", known, "this processor is older than those that are known")


def processor_of(situation: Situation) -> str:
    return "portable" if situation.record.numerics == "portable" else "as the processor has it"


# ---------------------------------------------------------------- the rest of the container


def choose_user(random: Random, situation: Situation) -> str:
    return f"{random.randrange(FIRST_UID, 60000)}:{random.randrange(FIRST_UID, 60000)}"


def be_user(container: ContainerSpec, value: str) -> ContainerSpec:
    """Another uid and gid, and the group of the original's: the log directory is lent to that."""
    gid = container.user.partition(":")[2]
    return telling(replace(container, user=value, groups=(gid, *container.groups)), share=True)


def move_home(container: ContainerSpec, value: str) -> ContainerSpec:
    return telling(with_variables(container, {"HOME": value}), home=True)


def speak(container: ContainerSpec, value: str) -> ContainerSpec:
    """Python takes C for UTF-8, unless it is told that C is meant."""
    plain = {"PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"} if value in ("C", "POSIX") else {}
    return with_variables(container, {"LANG": value, "LC_ALL": value, **plain})


def set_clock(container: ContainerSpec, value: str) -> ContainerSpec:
    moment = datetime.fromisoformat(value.removeprefix(FROZEN)).replace(tzinfo=timezone.utc)
    kind = "frozen" if value.startswith(FROZEN) else "start"
    return telling(container, clock={kind: moment.timestamp()})


def choose_moment(random: Random, situation: Situation) -> str:
    """Shortly before the end of a year, so that the run goes across it."""
    year = int(situation.today[:4]) + random.randrange(3)
    return f"{year}-12-31T23:59:{random.randrange(57, 60)}"


def add_variable(container: ContainerSpec, value: str) -> ContainerSpec:
    name, _, text = value.partition("=")
    return with_variables(container, {name: text})


# ---------------------------------------------------------------- what a re-run is asked for


def choose_memory(random: Random, situation: Situation) -> str:
    peak = situation.record.peak_memory
    if peak is None:
        raise Cannot("the record doesn't say how much memory the run took")
    enough = 2 * peak + (64 << 20)  # the peak is that of the largest process alone
    if situation.record.limits.memory and situation.record.limits.memory <= enough:
        raise Cannot("the run's limit is near what it took")
    return str(enough)


def limit_memory(changes: Changes, value: str, situation: Situation) -> Changes:
    return replace(changes, limits={**changes.limits, "memory": int(value)})


def memory_of(situation: Situation) -> str:
    limit = situation.record.limits.memory
    return "no limit" if limit is None else str(limit)


def choose_network(random: Random, situation: Situation) -> str:
    return "bridge" if situation.record.network == "none" else "none"


def connect(changes: Changes, value: str, situation: Situation) -> Changes:
    return replace(changes, network=value)


def choose_device(random: Random, situation: Situation) -> str:
    if situation.record.runtime == "gpu":
        return "cpu"
    if not situation.offers_gpus:
        raise Cannot("the engine offers no GPU")
    return "gpu"


def use_device(changes: Changes, value: str, situation: Situation) -> Changes:
    return replace(changes, gpus=Gpus(kind="all" if value == "gpu" else "none"))


def renew_packages(changes: Changes, value: str, situation: Situation) -> Changes:
    return replace(changes, as_of=situation.today)
