"""The factors: what can be varied about a run, how, and what to do where it makes a difference."""

from __future__ import annotations

from msgspec.structs import replace

from reprorun.model import HOME, HOSTNAME, WORKSPACE
from reprorun.vary import changing as how
from reprorun.vary.changing import FROZEN, SORTED
from reprorun.vary.container import telling, with_variables
from reprorun.vary.factor import Factor
from reprorun.vary.numerics import GENERATIONS, threads

_MOMENT = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d"

FACTORS: tuple[Factor, ...] = (
    Factor(
        name="hashseed",
        words="hash seed, and with it the order of sets",
        remedy="Iterate over sorted(...) of a set, or take a dict, which keeps its order; "
        "`hash` of text is for nothing but dicts.",
        form=r"\d{1,10}|random",
        example="42",
        original=how.variable("PYTHONHASHSEED"),
        choose=lambda random, _: str(random.randrange(1, 1 << 32)),
        container=how.setting("PYTHONHASHSEED"),
    ),
    Factor(
        name="timezone",
        words="time zone",
        remedy="Use UTC: datetime.now(timezone.utc), time.gmtime(), and time stamps with an "
        "offset.",
        form=r"[A-Za-z0-9_+<>,./:-]+",
        example="EST5EDT",
        original=how.variable("TZ"),
        choose=lambda random, s: how.another(random, how.variable("TZ")(s), list(how.ZONES), ""),
        container=how.setting("TZ"),
    ),
    Factor(
        name="locale",
        words="locale",
        remedy="Name the encoding, open(..., encoding='utf-8'), and don't call "
        "locale.setlocale(LC_ALL, '').",
        form=r"[A-Za-z0-9_.@-]+",
        example="POSIX",
        original=how.variable("LC_ALL"),
        choose=lambda random, s: how.another(
            random, how.variable("LC_ALL")(s), ["POSIX", "C.UTF-8"], ""
        ),
        container=how.speak,
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
        choose=how.choose_user,
        container=how.be_user,
    ),
    Factor(
        name="home",
        words="home directory",
        remedy="Name files relative to the launcher, and keep the home directory out of results.",
        form=r"/tmp/[\w./-]+",
        example="/tmp/home",
        original=lambda _: HOME,
        choose=lambda random, _: f"/tmp/home-{random.randrange(10**6)}",
        container=how.move_home,
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
        original=how.cpus_of,
        choose=how.choose_cpus,
        container=how.give_cpus,
    ),
    Factor(
        name="threads",
        words="thread count",
        remedy="Run it with --numerics portable, or set OMP_NUM_THREADS=1 with -e: sums of "
        "floating-point numbers depend on how many threads share them.",
        form=r"[1-9]\d{0,3}",
        example="1",
        original=how.threads_of,
        choose=lambda random, s: "2" if how.threads_of(s) == "1" else "1",
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
        choose=how.choose_moment,
        container=how.set_clock,
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
        container=how.add_variable,
    ),
    Factor(
        name="memory",
        words="memory limit",
        remedy="Say how large caches and blocks are instead of asking how much memory there is.",
        form=r"\d{7,18}",
        example="1073741824",
        original=how.memory_of,
        choose=how.choose_memory,
        changes=how.limit_memory,
    ),
    Factor(
        name="network",
        words="network",
        remedy="Keep what it downloads: give it as --input, which is recorded by its digest.",
        form=r"none|bridge|host",
        example="bridge",
        original=lambda s: s.record.network,
        choose=how.choose_network,
        changes=how.connect,
        outside=True,
    ),
    Factor(
        name="instructions",
        words="instruction set of the processor",
        remedy="Run it with --numerics portable, or compare with --rtol.",
        form="|".join(GENERATIONS),
        example="haswell",
        original=how.processor_of,
        choose=how.choose_instructions,
        container=lambda container, value: with_variables(container, GENERATIONS[value]),
    ),
    Factor(
        name="device",
        words="device",
        remedy="Compare with --rtol: a GPU adds up in another order than a CPU.",
        form=r"cpu|gpu",
        example="cpu",
        original=lambda s: s.record.runtime,
        choose=how.choose_device,
        changes=how.use_device,
    ),
    Factor(
        name="packages",
        words="versions of packages",
        remedy="The record's lock keeps the versions; narrow them in the project's own files, too.",
        form="newest-compatible",
        example="newest-compatible",
        original=lambda _: "as locked",
        choose=lambda random, _: "newest-compatible",
        changes=how.renew_packages,
        outside=True,
    ),
)
