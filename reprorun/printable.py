"""Text that came from a record or an experiment, made fit to be shown. Pure."""

from __future__ import annotations


def printable(text: str) -> str:
    """`text` with nothing in it that a terminal would obey; line breaks become visible too."""
    if text.isprintable():  # nearly always, and there may be many
        return text
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def quoted(text: str) -> str:
    """Text in quotes for a message: short, on one line, and ASCII."""
    return ascii(text if len(text) <= 80 else text[:77] + "...")


def printable_lines(text: str) -> str:
    """The same for text of several lines."""
    return "\n".join(printable(line.expandtabs()) for line in text.splitlines())
