"""Small projects on disk, and reading them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from reprorun.formats.read import read
from reprorun.formats.target import Target
from reprorun.model import Requirements, Wanted

DATA = Path(__file__).parent / "data"
SHA = "a" * 64
COMMIT = "0123456789abcdef0123456789abcdef01234567"


def plant(root: Path, files: dict[str, str | bytes]) -> Path:
    """Writes the files; a name that ends in / is a directory."""
    root.mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        path = root / name
        if name.endswith("/"):
            path.mkdir(parents=True, exist_ok=True)
            continue
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return root


def wanted(
    root: Path,
    kind: Any,
    source: str,
    files: dict[str, str | bytes],
    *,
    python: str = "3.11.2",
    paths: tuple[str, ...] = (),
) -> Wanted:
    """What a file wants, in a repository with the given files."""
    plant(root, files)
    requirements = Requirements(kind=kind, source=source, paths=paths)
    return read(requirements, str(root), Target(python=python))


def versions(found: Wanted) -> list[str]:
    """NAME==VERSION of what is pinned."""
    assert found.pinned is not None
    return [f"{one.name}=={one.version}" for one in found.pinned]
