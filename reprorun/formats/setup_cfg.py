"""setup.cfg: what setuptools reads of it about packages."""

from __future__ import annotations

import configparser
import re

from reprorun.errors import UsageError
from reprorun.formats import tree
from reprorun.formats.setup_py import SetupCall


def read_setup_cfg(root: str, path: str) -> SetupCall | None:
    """The `[metadata]` and `[options]` sections; None where the file has settings of tools only.

    Raises:
        UsageError: it can't be read.
    """
    parser = configparser.ConfigParser(interpolation=None, strict=False)
    parser.optionxform = str  # type: ignore[assignment,method-assign]
    try:
        parser.read_string(tree.read_text(root, path))
    except configparser.Error as error:
        raise UsageError(f"{path} can't be read: {str(error).splitlines()[0]}") from error
    if not any(parser.has_section(name) for name in ("metadata", "options")):
        return None
    extras = "options.extras_require"
    return SetupCall(
        name=parser.get("metadata", "name", fallback=None),
        requires=_lines(root, path, _option(parser, "install_requires")),
        extras={
            key: _lines(root, path, value)
            for key, value in (parser.items(extras) if parser.has_section(extras) else ())
        },
        python=parser.get("options", "python_requires", fallback=None),
        package_dir=_mapping(_option(parser, "package_dir")),
    )


def _option(parser: configparser.ConfigParser, name: str) -> str:
    dashed = parser.get("options", name.replace("_", "-"), fallback="")
    return parser.get("options", name, fallback=dashed) or ""


def _lines(root: str, path: str, value: str) -> tuple[str, ...]:
    """One requirement a line, or `file: a.txt, b.txt` with such lines."""
    if value.strip().startswith("file:"):
        names = re.split(r"[,\n]", value.strip().removeprefix("file:"))
        files = [tree.beside(path, name.strip()) for name in names if name.strip()]
        return tuple(line for file in files for line in file_lines(root, path, file))
    lines = value.split("\n" if "\n" in value else ";")  # as setuptools does
    return tuple(line.strip() for line in lines if line.strip() and line.strip()[0] != "#")


def file_lines(root: str, said_by: str, path: str) -> tuple[str, ...]:
    """The requirements of a file that setuptools is told to read them from.

    Raises:
        UsageError: there is no such file inside the repository, or it holds options.
    """
    if not tree.is_file(root, path):
        raise UsageError(f"{said_by}: it reads its dependencies from {path}, and there is none.")
    lines = (re.sub(r"(^|\s)#.*$", "", line) for line in tree.read_text(root, path).splitlines())
    found = tuple(line.strip() for line in lines if line.strip())
    for line in found:
        if line.startswith("-"):
            raise UsageError(
                f"{path}: {line!r} is an option, which setuptools does not read. "
                f"Put a requirements.txt beside {said_by}."
            )
    return found


def _mapping(value: str) -> dict[str, str]:
    """`package_dir`: lines of NAME = DIRECTORY, the root package having no name."""
    pairs = (line.partition("=") for line in re.split(r"[\n,]", value) if "=" in line)
    return {name.strip(): place.strip() for name, _, place in pairs}
