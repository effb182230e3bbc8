"""Hashes and advisories of the pinned packages; see scripts/audit.

audit.py PIP_AUDIT [FIGURES]
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

LOCKS = ("requirements-dev.lock", "scripts/lib/audit.lock")
SOURCES = ("pypi", "osv")


def main() -> int:
    """Say of each lock what was found."""
    pip_audit, figures = sys.argv[1], sys.argv[2]
    found = {lock: _audited(pip_audit, lock) for lock in LOCKS}
    for lock, result in found.items():
        print(f"{lock}: {_words(result)}")
    if figures:
        said = {"kind": "audit", "date": time.strftime("%Y-%m-%d", time.gmtime()), "locks": found}
        Path(figures).write_text(json.dumps(said, indent=2) + "\n")
    return 1 if any(result["faults"] or result["without_hash"] for result in found.values()) else 0


def _audited(pip_audit: str, lock: str) -> dict[str, Any]:
    text = Path(lock).read_text()
    entries = [entry for entry in text.replace("\\\n", " ").splitlines() if "==" in entry]
    without = [entry.split("==")[0] for entry in entries if "--hash=sha256:" not in entry]
    best: dict[str, Any] = {"packages": len(entries), "audited": 0, "source": None, "faults": []}
    for source in SOURCES:
        told = _ask(pip_audit, source, lock)
        asked = [each for each in told if "skip_reason" not in each]
        if len(asked) > best["audited"]:
            faults = [f"{d['name']} {d['version']}: {v['id']}" for d in asked for v in d["vulns"]]
            best |= {"audited": len(asked), "source": source, "faults": faults}
    return {**best, "without_hash": without}


def _ask(pip_audit: str, source: str, lock: str) -> list[dict[str, Any]]:
    words = [pip_audit, "-r", lock, "-s", source, "--require-hashes", "--disable-pip",
             "--progress-spinner", "off", "-f", "json"]  # fmt: skip
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    try:
        return list(json.loads(done.stdout)["dependencies"])
    except (ValueError, KeyError):
        return []  # it does not answer


def _words(found: dict[str, Any]) -> str:
    total, audited = found["packages"], found["audited"]
    hashes = f"without a hash: {', '.join(found['without_hash'])}" if found["without_hash"] else (
        f"all {total} packages pinned with hashes"
    )  # fmt: skip
    if not audited:
        return (
            f"{hashes}; NOT audited: no source of advisories answers (asked: {', '.join(SOURCES)})"
        )
    faults = f"{len(found['faults'])} known faults {'; '.join(found['faults'])}".strip()
    return f"{hashes}; {audited} of {total} audited with {found['source']}: {faults}"


if __name__ == "__main__":
    sys.exit(main())
