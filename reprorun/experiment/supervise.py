"""The container's main process: runs a command, passes signals on, and says how it ended.

Run as `python -I -S supervise.py COMMAND ARGUMENTS...`. It stands in every run's way, so it imports
next to nothing. Its exit code is the command's, 128 + n when signal n ended it, 127 when there is
no such command, 126 when it can't be run, and 125 when it lacks GPUs that were asked for.
"""

from __future__ import annotations

import os
import signal
import sys
import time

REPORT_NAME = ".reprorun-guest.json"
OUTPUTS = "outputs"
REFUSED = 125  # the command was not started, as docker has it
COARSE_CLOCK = 5  # CLOCK_REALTIME_COARSE of Linux, which the time stamps of files are taken from
SLACK = 0.001  # seconds by which two clocks may differ that nobody has set
_STOP = signal.SIGPWR  # the container's stop signal: see STOP_SIGNAL of the host's side
_FORWARDED = (
    signal.SIGTERM,
    signal.SIGINT,
    signal.SIGHUP,
    signal.SIGQUIT,
    signal.SIGUSR1,
    signal.SIGUSR2,
    _STOP,
)
_PASSED_ON: set[int] = set()  # signals that the command got while it lived, as it got them
# Where the kernel counts processes killed for want of memory: cgroup v2, cgroup v1.
_OOM_COUNTERS = ("/sys/fs/cgroup/memory.events", "/sys/fs/cgroup/memory/memory.oom_control")


def main(command: list[str]) -> int:
    """Runs a command to its end.

    Args:
        command: The program, found on PATH, and its arguments.

    Returns:
        The exit code.
    """
    if not command:
        _say("no command given; it takes COMMAND ARGUMENTS...")
        return 2
    if os.environ.get("REPRORUN_VARIED"):
        _find_package()
        from reprorun.experiment.varied_run import begin

        command = begin(command)
    gpus, refusal = _gpus()
    if refusal:
        return _refuse(refusal, gpus)
    kills_before = _oom_kills()
    stamp = time.clock_gettime_ns(COARSE_CLOCK)
    started, clock = time.time(), time.monotonic()
    child = _start(command)
    guest = _guest()  # while the command runs, and so are the imports that it takes
    processor = _processor() if guest else {}
    status, peak = _wait_for(child)
    seconds = time.monotonic() - clock
    interrupted = signal.SIGINT in _PASSED_ON
    number = os.WTERMSIG(status) if os.WIFSIGNALED(status) else None
    exit_code = os.WEXITSTATUS(status) if number is None else 128 + number
    ended = time.time()
    _report(
        guest,
        **_outputs(guest, stamp, was_set_back=ended - started < seconds - SLACK),
        started=_utc(started),
        ended=_utc(ended),
        seconds=seconds,
        exit_code=exit_code,
        signal=_signal_name(number),
        interrupted=interrupted,
        peak_memory=peak,
        oom_killed=_oom_kills() > kills_before,
        python=sys.version.split()[0],
        **processor,
        **gpus,
    )
    if guest and os.environ.get("REPRORUN_VARIED"):
        from reprorun.experiment.varied_run import end

        end(guest[0])
    return exit_code


def _start(command: list[str]) -> int:
    """Starts the command, and passes signals on to it from now on.

    Signals wait from before the fork until both sides are ready, so that none gets lost.

    Returns:
        The process id.
    """
    before = signal.pthread_sigmask(signal.SIG_BLOCK, _FORWARDED)
    child = os.fork()
    if child == 0:
        _become(command, before)
    try:
        os.setpgid(child, child)  # the child does so too: whoever comes first, before any signal
    except (PermissionError, ProcessLookupError):
        pass  # it has become the command already, or ended
    for number in _FORWARDED:
        signal.signal(number, lambda received, _frame: _pass_on(child, received))
    signal.pthread_sigmask(signal.SIG_SETMASK, before)
    return child


def _become(command: list[str], mask: set[int]) -> None:
    """Turns this (the child) process into the command; never returns."""
    code = 126
    try:
        _take_terminal()
        # Python ignores some (SIGPIPE), and whoever started us may too.
        for number in (*_FORWARDED, signal.SIGPIPE, signal.SIGXFSZ, signal.SIGTTOU):
            signal.signal(number, signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        os.execvp(command[0], command)
    except (FileNotFoundError, NotADirectoryError):
        code = 127
        _say(f"{command[0]}: not found in the container; check its name and PATH")
    except (OSError, ValueError) as error:
        _say(f"{command[0]}: can't be run: {getattr(error, 'strerror', None) or error}")
    finally:
        os._exit(code)


def _take_terminal() -> None:
    """Gets a process group of its own, and the terminal if there is one.

    In ours, Ctrl-C would reach the command twice: from the terminal and passed on.
    """
    os.setpgid(0, 0)
    signal.signal(signal.SIGTTOU, signal.SIG_IGN)  # sent to who takes the terminal from behind
    if os.isatty(0):
        try:
            os.tcsetpgrp(0, os.getpgrp())
        except OSError:
            pass  # a terminal, but not the one that controls us


def _pass_on(child: int, number: int) -> None:
    """Passes a signal on to the command and its children, as a terminal does with Ctrl-C.

    A shell, for one, waits for the program that it runs and leaves the interrupt to that. To stop
    is to interrupt: Python runs its `finally` blocks.
    """
    if number == _STOP:
        number = signal.SIGINT
    if not _has_ended(child):  # else it has not ended by this
        _PASSED_ON.add(number)
    try:
        os.killpg(child, number)
    except ProcessLookupError:
        pass  # it has ended meanwhile


def _has_ended(child: int) -> bool:
    try:
        return os.waitid(os.P_PID, child, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None
    except ChildProcessError:
        return True  # and has been waited for


def _wait_for(child: int) -> tuple[int, int]:
    """Waits for the command; reaps processes that have lost their parent meanwhile.

    Signals are waited for, not caught: one that came just before a wait would be heard after it.

    Returns:
        The command's wait status, and the peak memory of the largest process in bytes.
    """
    peak = 0
    awaited = {*_FORWARDED, signal.SIGCHLD}
    signal.pthread_sigmask(signal.SIG_BLOCK, awaited)
    while True:
        ended, status, usage = os.wait4(-1, os.WNOHANG)
        if not ended:
            number = signal.sigwait(awaited)
            if number != signal.SIGCHLD:
                _pass_on(child, number)
            continue
        peak = max(peak, usage.ru_maxrss * 1024)
        if ended == child:
            return status, peak


def _gpus() -> tuple[dict[str, object], str | None]:
    """Returns the GPUs that are seen, as facts of the report, and why the run must not begin."""
    expected = os.environ.get("REPRORUN_GPUS")
    if not expected:
        return {}, None
    _find_package()
    from reprorun.experiment.gpus import find_gpus, shortfall

    found = find_gpus()
    return {"gpus": found}, shortfall(found, int(expected))


def _refuse(why: str, facts: dict[str, object]) -> int:
    """Says why the command is not started; returns the exit code."""
    _say(why)
    now = _utc(time.time())
    _report(_guest(), **facts, started=now, ended=now, exit_code=REFUSED, refused=why)
    return REFUSED


def _guest() -> tuple[str, str] | None:
    """Returns the log directory and the working tree; None where nobody wants a report."""
    told = os.environ.get("REPRORUN_GUEST")
    if not told:
        return None
    import json

    _find_package()
    import reprorun.experiment.bring_out  # noqa: F401  used when the command has ended

    try:
        guest = json.loads(told)
        return guest["log_dir"], guest["root"]
    except (ValueError, LookupError, TypeError) as error:
        _say(f"REPRORUN_GUEST can't be understood: {error}")
        return None


def _processor() -> dict[str, object]:
    """Returns what the kernel says of the first processor, as facts of the report."""
    try:
        with open("/proc/cpuinfo", encoding="utf-8", errors="replace") as file:
            lines = file.read(1 << 14).splitlines()
    except OSError:
        return {}
    fields: dict[str, str] = {}
    for line in lines:
        name, _, value = line.partition(":")
        fields.setdefault(name.strip(), value.strip())
    flags = fields.get("flags", fields.get("Features", ""))
    return {"cpu_model": fields.get("model name", ""), "cpu_flags": flags}


def _find_package() -> None:
    """-S leaves out site-packages, where the rest of this package lies."""
    package = os.path.dirname(os.path.dirname(os.path.realpath(__file__)))
    sys.path.append(os.path.dirname(package))


def _outputs(guest: tuple[str, str] | None, since: int, *, was_set_back: bool) -> dict[str, object]:
    """Brings the outputs out of the working tree; where that fails, the host does it.

    When the clock was set back, the time stamps of files don't tell what has changed.
    """
    if guest is None:
        return {}
    if was_set_back:
        return {"outputs_kept": False}
    from reprorun.experiment.bring_out import bring_out

    log_dir, root = guest
    try:
        not_kept = bring_out(root, os.path.join(log_dir, OUTPUTS), since)
    except Exception as error:  # whatever it is, the exit code stays the command's
        _say(f"the outputs are left to the host to bring out: {error}")
        return {"outputs_kept": False}
    return {"outputs_kept": True, "not_kept": not_kept}


def _report(guest: tuple[str, str] | None, **facts: object) -> None:
    """Writes how it went to the log directory; failing to do so changes nothing else."""
    if guest is None:
        return
    import json

    try:
        _replace(os.path.join(guest[0], REPORT_NAME), json.dumps(facts, indent=2) + "\n")
    except OSError as error:
        _say(f"can't write {REPORT_NAME} to the log directory: {error}")


def _replace(path: str, text: str) -> None:
    """Writes a file beside and renames it, so that it is there as a whole or not at all."""
    unfinished = os.path.join(os.path.dirname(path), f".reprorun-{os.urandom(8).hex()}.tmp")
    try:
        with open(unfinished, "x", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        os.replace(unfinished, path)
    except OSError:
        if os.path.lexists(unfinished):
            os.unlink(unfinished)
        raise


def _oom_kills() -> int:
    """Returns how many processes the kernel has killed here for want of memory."""
    for path in _OOM_COUNTERS:
        try:
            with open(path, encoding="ascii") as file:
                counters = dict(line.split()[:2] for line in file)
            return int(counters.get("oom_kill", 0))
        except (OSError, ValueError):
            continue
    return 0


def _signal_name(number: int | None) -> str | None:
    if number is None:
        return None
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"SIG{number}"  # a real-time signal


def _utc(seconds: float) -> str:
    """Returns a time since 1970 as ISO 8601 with microseconds."""
    whole, micro = divmod(int(seconds * 1_000_000), 1_000_000)
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(whole)) + f".{micro:06d}+00:00"


def _say(message: str) -> None:
    try:
        print(f"reprorun: error: {message}", file=sys.stderr, flush=True)
    except OSError:
        pass  # nobody is listening any more


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
