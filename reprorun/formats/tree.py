"""Looking at the repository's files: only regular ones, only below its root."""

from __future__ import annotations

import codecs
import os
from typing import Any

from reprorun.errors import UsageError
from reprorun.toml import read_toml

_MARKS = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF32_LE, "utf-32-le"),  # before UTF-16, whose mark it starts with
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)


def relative(root: str, path: str) -> str | None:
    """A path relative to the root, links resolved in the answer to whether it lies inside.

    Args:
        root: the repository's root, absolute.
        path: absolute, or relative to the root.

    Returns:
        The path as it is spelled, normalized, "." for the root; None when it leads outside.
    """
    if not _is_name(path):
        return None
    full = os.path.normpath(os.path.join(root, path))
    if not _below(full, os.path.normpath(root)):
        return None
    if not _below(os.path.realpath(full), os.path.realpath(root)):
        return None
    return os.path.relpath(full, os.path.normpath(root))


def _is_name(path: str) -> bool:
    """Whether a file can have that name: neither with a NUL nor with half a surrogate pair."""
    try:
        return b"\0" not in os.fsencode(path)
    except UnicodeEncodeError:
        return False


def _below(path: str, root: str) -> bool:
    return path == root or path.startswith(root.rstrip("/") + "/")


def is_file(root: str, path: str) -> bool:
    """Whether there is a regular file inside the repository."""
    return relative(root, path) is not None and os.path.isfile(os.path.join(root, path))


def is_directory(root: str, path: str) -> bool:
    """Whether there is a directory inside the repository."""
    return relative(root, path) is not None and os.path.isdir(os.path.join(root, path))


def beside(path: str, name: str) -> str:
    """The path of a file that another one names, normalized."""
    return os.path.normpath(os.path.join(os.path.dirname(path), name))


def read_text(root: str, path: str) -> str:
    """The text of a file, by its byte order mark or as UTF-8.

    UTF-16 with its mark is read too, as pip does: a shell on Windows writes that.

    Raises:
        UsageError: it can't be read, is no text, or holds a NUL; the message says where.
    """
    try:
        with open(os.path.join(root, path), "rb") as file:
            data = file.read()
    except OSError as error:
        raise UsageError(f"{path} can't be read: {error.strerror}.") from error
    encoding = "utf-8"
    for mark, name in _MARKS:
        if data.startswith(mark):
            data, encoding = data[len(mark) :], name
            break
    try:
        text = data.decode(encoding)
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise UsageError(
            f"{path}, line {line}: it is not {encoding.upper()}. Save the file as UTF-8."
        ) from error
    if "\0" in text:
        line = text.count("\n", 0, text.index("\0")) + 1
        raise UsageError(f"{path}, line {line}: it holds a NUL, so it is no text file.")
    return text


def read_table(root: str, path: str) -> dict[str, Any]:
    """The content of a TOML file.

    Raises:
        UsageError: it can't be read or is not TOML.
    """
    try:
        return read_toml(os.path.join(root, path))
    except RecursionError as error:
        raise UsageError(f"{path} can't be read: it is nested too deep.") from error


def read_json(root: str, path: str) -> Any:
    """The content of a JSON file.

    Raises:
        UsageError: it can't be read or is not JSON.
    """
    import json

    try:
        return json.loads(read_text(root, path))
    except (ValueError, RecursionError) as error:
        raise UsageError(f"{path} can't be read: {error}") from error
