"""The lock as text: `requirements.lock`, which pip and uv read too. Pure."""

from __future__ import annotations

from reprorun.model import Lock, Package


def lock_text(lock: Lock) -> str:
    """One entry a package: version and sha256; for what was built, those of its source.

    The wheel that was built stands behind as a comment, with its own sha256.
    """
    return "".join(_entry(package) for package in lock.packages)


def _entry(package: Package) -> str:
    source, wheel = package.source, package.wheel
    if source is None:
        return f"{_requirement(package)}{_hash(wheel.sha256)}"
    built = f"    # built from source: {wheel.name} sha256:{wheel.sha256}\n"
    if source.kind == "git":
        below = f"#subdirectory={source.subdirectory}" if source.subdirectory else ""
        return f"{package.name} @ git+{package.address}@{source.commit}{below}\n{built}"
    return f"{_requirement(package)}{_hash(source.sha256)}{built}"


def _requirement(package: Package) -> str:
    """By version where an index has it, by address elsewhere."""
    if package.address:
        return f"{package.name} @ {package.address}"
    return f"{package.name}=={package.version}"


def _hash(sha256: str) -> str:
    return f" \\\n    --hash=sha256:{sha256}\n"
