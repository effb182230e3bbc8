"""The factors: what can be varied about a run, how, and what to do where it makes a difference."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timezone
from random import Random

from msgspec.structs import replace

from reprorun.model import ENVIRONMENT, HOME, HOSTNAME, WORKSPACE, Changes, ContainerSpec, Gpus
from reprorun.vary.container import telling, with_variables
from reprorun.vary.factor import Cannot, Factor, Situation
from reprorun.vary.numerics import GENERATIONS, emulates, threads

FROZEN = "frozen@"  # and a moment: the clock starts there and goes on with each look at it
SORTED = "sorted"
_FIRST_UID = 20000  # of those that are made up
_MOMENT = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d"

# As POSIX writes them, so that they mean something in an image without time zones: name, and hours
# west of Greenwich.
_ZONES = ("<+0545>-05:45", "<+1245>-12:45", "<-0330>03:30", "EST5EDT,M3.2.0,M11.1.0", "<-11>11")


def _variable(name: str) -> Callable[[Situation], str]:
    def original(situation: Situation) -> str:
        return situation.record.environment.get(name, ENVIRONMENT.get(name, "unset"))

    return original


def _sets(*names: str) -> Callable[[ContainerSpec, str], ContainerSpec]:
    return lambda container, value: with_variables(container, dict.fromkeys(names, value))


def _other(random: Random, original: str, choices: list[str], why: str) -> str:
    """One of several values that is not the original's."""
    left = [choice for choice in choices if choice != original]
    if not left:
        raise Cannot(why)
    return random.choice(left)


# ---------------------------------------------------------------- processors


def _cpus(situation: Situation) -> str:
    return str(situation.record.host.cpu_count or situation.cpus)


def _choose_cpus(random: Random, situation: Situation) -> str:
    fewer = [str(number) for number in (1, 2) if number <= situation.cpus]
    return _other(random, _cpus(situation), fewer, "this machine has only one processor")


def _give_cpus(container: ContainerSpec, value: str) -> ContainerSpec:
    number = int(value)
    bound = replace(container, cpuset="0" if number == 1 else f"0-{number - 1}")
    return telling(bound, cpus=number)


def _threads(situation: Situation) -> str:
    if situation.record.numerics == "portable":
        return "1"
    return situation.record.environment.get("OMP_NUM_THREADS") or _cpus(situation)


def _choose_instructions(random: Random, situation: Situation) -> str:
    if situation.record.numerics == "portable":
        raise Cannot("--numerics portable pins it")
    if (situation.record.host.machine or "x86_64") != "x86_64":
        raise Cannot("only generations of x86-64 are known")
    # none that the machine is itself, and the furthest away that it can run
    known = [name for name in ("nehalem", "haswell") if emulates(name, situation.features)]
    if "avx512f" not in situation.features:
        known = known[:1]
    return _other(random, "", known, "this processor is older than those that are known")


def _processor(situation: Situation) -> str:
    return "portable" if situation.record.numerics == "portable" else "as the processor has it"


# ---------------------------------------------------------------- the rest of the container


def _choose_user(random: Random, situation: Situation) -> str:
    return f"{random.randrange(_FIRST_UID, 60000)}:{random.randrange(_FIRST_UID, 60000)}"


def _be_user(container: ContainerSpec, value: str) -> ContainerSpec:
    """Another uid and gid, and the group of the original's: the log directory is lent to that."""
    gid = container.user.partition(":")[2]
    return telling(replace(container, user=value, groups=(gid,)), share=True)


def _move_home(container: ContainerSpec, value: str) -> ContainerSpec:
    return telling(with_variables(container, {"HOME": value}), home=True)


def _speak(container: ContainerSpec, value: str) -> ContainerSpec:
    """Python takes C for UTF-8, unless it is told that C is meant."""
    plain = {"PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"} if value in ("C", "POSIX") else {}
    return with_variables(container, {"LANG": value, "LC_ALL": value, **plain})


def _set_clock(container: ContainerSpec, value: str) -> ContainerSpec:
    moment = datetime.fromisoformat(value.removeprefix(FROZEN)).replace(tzinfo=timezone.utc)
    kind = "frozen" if value.startswith(FROZEN) else "start"
    return telling(container, clock={kind: moment.timestamp()})


def _choose_moment(random: Random, situation: Situation) -> str:
    """Shortly before the end of a year, so that the run goes across it."""
    year = int(situation.today[:4]) + random.randrange(3)
    return f"{year}-12-31T23:59:{random.randrange(57, 60)}"


def _add_variable(container: ContainerSpec, value: str) -> ContainerSpec:
    name, _, text = value.partition("=")
    return with_variables(container, {name: text})


# ---------------------------------------------------------------- what a re-run is asked for


def _choose_memory(random: Random, situation: Situation) -> str:
    peak = situation.record.peak_memory
    if peak is None:
        raise Cannot("the record doesn't say how much memory the run took")
    enough = 2 * peak + (64 << 20)  # the peak is that of the largest process alone
    if situation.record.limits.memory and situation.record.limits.memory <= enough:
        raise Cannot("the run's limit is near what it took")
    return str(enough)


def _limit_memory(changes: Changes, value: str, situation: Situation) -> Changes:
    return replace(changes, limits={**changes.limits, "memory": int(value)})


def _memory(situation: Situation) -> str:
    limit = situation.record.limits.memory
    return "no limit" if limit is None else str(limit)


def _choose_network(random: Random, situation: Situation) -> str:
    return "bridge" if situation.record.network == "none" else "none"


def _connect(changes: Changes, value: str, situation: Situation) -> Changes:
    return replace(changes, network=value)


def _choose_device(random: Random, situation: Situation) -> str:
    if situation.record.runtime == "gpu":
        return "cpu"
    if not situation.offers_gpus:
        raise Cannot("the engine offers no GPU")
    return "gpu"


def _use_device(changes: Changes, value: str, situation: Situation) -> Changes:
    return replace(changes, gpus=Gpus(kind="auto" if value == "gpu" else "none"))


def _renew_packages(changes: Changes, value: str, situation: Situation) -> Changes:
    return replace(changes, as_of=situation.today)


# ---------------------------------------------------------------- all of them

FACTORS: tuple[Factor, ...] = (
    Factor(
        name="hashseed",
        words="hash seed, and with it the order of sets",
        remedy="Iterate over sorted(...) of a set, or take a dict, which keeps its order; "
        "`hash` of text is for nothing but dicts.",
        form=r"\d{1,10}|random",
        example="42",
        original=_variable("PYTHONHASHSEED"),
        choose=lambda random, _: str(random.randrange(1, 1 << 32)),
        container=_sets("PYTHONHASHSEED"),
    ),
    Factor(
        name="timezone",
        words="time zone",
        remedy="Use UTC: datetime.now(timezone.utc), time.gmtime(), and time stamps with an "
        "offset.",
        form=r"[A-Za-z0-9_+<>,./:-]+",
        example="EST5EDT",
        original=_variable("TZ"),
        choose=lambda random, s: _other(random, _variable("TZ")(s), list(_ZONES), ""),
        container=_sets("TZ"),
    ),
    Factor(
        name="locale",
        words="locale",
        remedy="Name the encoding, open(..., encoding='utf-8'), and don't call "
        "locale.setlocale(LC_ALL, '').",
        form=r"[A-Za-z0-9_.@-]+",
        example="POSIX",
        original=_variable("LC_ALL"),
        choose=lambda random, s: _other(random, _variable("LC_ALL")(s), ["POSIX", "C.UTF-8"], ""),
        container=_speak,
    ),
    Factor(
        name="hostname",
        words="host name",
        remedy="Keep platform.node() and socket.gethostname() out of results and file names.",
        form=r"[A-Za-z0-9-]{1,63}",
        example="other-7",
        original=lambda _: HOSTNAME,
        choose=lambda random, _: f"other-{random.randrange(10**6)}",
        container=lambda container, value: replace(container, hostname=value),
    ),
    Factor(
        name="user",
        words="uid and gid",
        remedy="Keep os.getuid() and names of users out of results and paths; write only in the "
        "working tree, the log directory, the home directory and /tmp.",
        form=r"[2-5]\d{4}:[2-5]\d{4}",  # nobody; a record must not choose to be root
        example="20001:20001",
        original=lambda s: f"{s.uid}:{s.gid}",
        choose=_choose_user,
        container=_be_user,
    ),
    Factor(
        name="home",
        words="home directory",
        remedy="Name files relative to the launcher, and keep the home directory out of results.",
        form=r"/tmp/[\w./-]+",
        example="/tmp/home",
        original=lambda _: HOME,
        choose=lambda random, _: f"/tmp/home-{random.randrange(10**6)}",
        container=_move_home,
    ),
    Factor(
        name="workdir",
        words="path of the working tree",
        remedy="Keep absolute paths out of results: os.path.relpath(...), and names relative to "
        "the launcher.",
        form=r"/tmp/[\w-]+",
        example="/tmp/tree",
        original=lambda _: WORKSPACE,
        choose=lambda random, _: f"/tmp/tree-{random.randrange(10**6)}",
        container=lambda container, value: telling(container, tree=value),
    ),
    Factor(
        name="umask",
        words="umask",
        remedy="Set the modes of files with os.chmod where they matter.",
        form=r"[0-7]{3,4}",
        example="077",
        original=lambda _: "022",
        choose=lambda random, _: random.choice(["077", "027", "002"]),
        container=lambda container, value: telling(container, umask=int(value, 8)),
    ),
    Factor(
        name="cpus",
        words="number of processors",
        remedy="Say how many workers and parts there are instead of os.cpu_count(); run it "
        "with --cpus.",
        form=r"[1-9]\d{0,3}",
        example="1",
        original=_cpus,
        choose=_choose_cpus,
        container=_give_cpus,
    ),
    Factor(
        name="threads",
        words="thread count",
        remedy="Run it with --numerics portable, or set OMP_NUM_THREADS=1 with -e: sums of "
        "floating-point numbers depend on how many threads share them.",
        form=r"[1-9]\d{0,3}",
        example="1",
        original=_threads,
        choose=lambda random, s: "2" if _threads(s) == "1" else "1",
        container=lambda container, value: with_variables(container, threads(int(value))),
    ),
    Factor(
        name="clock",
        words="date and time",
        remedy="Give the date as a parameter instead of asking the clock, and never seed with "
        "the time.",
        form=rf"({FROZEN})?{_MOMENT}",
        example="2030-12-31T23:59:58",
        original=lambda s: s.record.started or "the time of the run",
        choose=_choose_moment,
        container=_set_clock,
    ),
    Factor(
        name="dirorder",
        words="order of directory listings",
        remedy="sorted(os.listdir(...)), sorted(glob.glob(...)), sorted(path.iterdir()).",
        form=rf"\d+|{SORTED}",
        example="7",
        original=lambda _: "as the file system has it",
        choose=lambda random, _: str(random.randrange(10**6)),
        container=lambda container, value: telling(container, order=value),
    ),
    Factor(
        name="extraenv",
        words="an additional environment variable",
        remedy="Read the variables that are meant by name, not all of os.environ.",
        form=r"(?!REPRORUN_)[A-Za-z_][A-Za-z0-9_]*=[^\0]*",
        example="VARIED=7",
        original=lambda _: "unset",
        choose=lambda random, _: f"VARIED_{random.randrange(10**6)}=1",
        container=_add_variable,
    ),
    Factor(
        name="memory",
        words="memory limit",
        remedy="Say how large caches and blocks are instead of asking how much memory there is.",
        form=r"\d{7,18}",
        example="1073741824",
        original=_memory,
        choose=_choose_memory,
        changes=_limit_memory,
    ),
    Factor(
        name="network",
        words="network",
        remedy="Keep what it downloads: give it as --input, which is recorded by its digest.",
        form=r"none|bridge|host",
        example="bridge",
        original=lambda s: s.record.network,
        choose=_choose_network,
        changes=_connect,
        outside=True,
    ),
    Factor(
        name="instructions",
        words="instruction set of the processor",
        remedy="Run it with --numerics portable, or compare with --rtol.",
        form="|".join(GENERATIONS),
        example="haswell",
        original=_processor,
        choose=_choose_instructions,
        container=lambda container, value: with_variables(container, GENERATIONS[value]),
    ),
    Factor(
        name="device",
        words="device",
        remedy="Compare with --rtol: a GPU adds up in another order than a CPU.",
        form=r"cpu|gpu",
        example="cpu",
        original=lambda s: s.record.runtime,
        choose=_choose_device,
        changes=_use_device,
    ),
    Factor(
        name="packages",
        words="versions of packages",
        remedy="The record's lock keeps the versions; narrow them in the project's own files, too.",
        form="newest-compatible",
        example="newest-compatible",
        original=lambda _: "as locked",
        choose=lambda random, _: "newest-compatible",
        changes=_renew_packages,
        outside=True,
    ),
)
