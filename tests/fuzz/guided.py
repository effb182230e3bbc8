"""One target under atheris, which looks for inputs that reach code no other has reached.

    python -m tests.fuzz.guided TARGET INPUTS SEED SECONDS

atheris is no dependency, for it has no wheel for every Python: `pip install atheris`.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path


def main() -> None:
    """Fuzz until inputs or time are used up; a crash ends the process with its exit code."""
    name, inputs, seed, seconds = sys.argv[1:]
    try:
        import atheris
    except ImportError:
        sys.exit("atheris is not installed: pip install atheris, or leave --guided")
    with atheris.instrument_imports(include=["reprorun"]):
        from .running import crash_of
        from .targets import build_targets

        target = build_targets()[name]
        for data in target.seeds():  # parsers are imported when they are first needed
            crash_of(target, data)

    def one(data: bytes) -> None:
        crash = crash_of(target, data)
        if crash:
            raise AssertionError(crash.how)

    with tempfile.TemporaryDirectory(prefix="reprorun-fuzz-corpus-") as corpus:
        for number, data in enumerate(target.seeds()):
            (Path(corpus) / str(number)).write_bytes(data)
        words = [
            *(f"-runs={inputs}", f"-seed={int(seed) + 1}", "-max_len=65536", "-verbosity=0"),
            *(f"-max_total_time={int(float(seconds))}", "-print_final_stats=1"),
        ]
        atheris.Setup([sys.argv[0], *words, corpus], one)
        atheris.Fuzz()


if __name__ == "__main__":
    main()
