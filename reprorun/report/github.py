"""A check for GitHub Actions: annotations for the log, a summary of the job in Markdown. Pure."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

from reprorun.printable import printable
from reprorun.report.words import PACK, count_words, headline, is_same, seconds_of

if TYPE_CHECKING:
    from reprorun.workflow.check import RecordCheck

_RUN_FILE = "run.json"
_ROWS = 1000  # of the summary's table; GitHub drops a summary of more than 1 MiB
_LONGEST = 400  # characters of a cell
_MARKUP = re.compile(r"([\\`*_{}\[\]()<>#+!|~&:@$-])")
_MARKS = {True: "✅", False: "❌"}


def workflow_commands(results: Iterable[RecordCheck]) -> Iterator[str]:
    """A workflow command for each record that did not come out the same."""
    for result in results:
        if is_same(result):
            continue
        title = _property(f"reprorun: {result.verdict}: {printable(result.record)}")
        yield f"::error {_file(result.record)}title={title}::{_data(headline(result))}"


def _file(record: str) -> str:
    """The file to show it at, where GitHub can find one: relative to the working directory."""
    inside = os.path.normpath(record)
    if os.path.isabs(inside) or inside.startswith(".."):
        return ""
    name = inside if inside.endswith(PACK) else os.path.join(inside, _RUN_FILE)
    return f"file={_property(printable(name))},"


def _data(text: str) -> str:
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _property(text: str) -> str:
    return _data(text).replace(":", "%3A").replace(",", "%2C")


def summary(results: Iterable[RecordCheck]) -> str:
    """The results as a table of Markdown, those that differ first."""
    listed = sorted(results, key=is_same)
    lines = [
        "## reprorun check",
        "",
        count_words(tuple(listed)),
        "",
        "| | record | verdict | seconds | what |",
        "| --- | --- | --- | ---: | --- |",
        *map(_row, listed[:_ROWS]),
    ]
    if len(listed) > _ROWS:
        lines += ["", f"and {len(listed) - _ROWS} more"]
    return "\n".join(lines) + "\n"


def _row(result: RecordCheck) -> str:
    same = is_same(result)
    cells = (
        _MARKS[same],
        _cell(result.record),
        _cell(result.verdict),
        f"{seconds_of(result):.1f}",
        "" if same else _cell(headline(result)),
    )
    return f"| {' | '.join(cells)} |"


def _cell(text: str) -> str:
    """Text that Markdown shows as it stands."""
    shown = printable(text)
    if len(shown) > _LONGEST:
        shown = f"{shown[: _LONGEST - 3]}..."
    return _MARKUP.sub(r"\\\1", shown)
