"""Debian's chromium, driven by playwright: a page as somebody sees it."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

CHROMIUM = "REPRORUN_TEST_CHROMIUM"
_PHONE, _DESK = {"width": 360, "height": 740}, {"width": 1280, "height": 800}

CONTRAST = """() => {
  const parts = color => color.match(/[\\d.]+/g).map(Number);
  const light = color => parts(color).slice(0, 3).map(c => c / 255)
    .map(c => c <= .03928 ? c / 12.92 : ((c + .055) / 1.055) ** 2.4)
    .reduce((sum, c, i) => sum + c * [.2126, .7152, .0722][i], 0);
  const back = element => {
    for (; element; element = element.parentElement) {
      const color = getComputedStyle(element).backgroundColor;
      if (parts(color)[3] !== 0) return color;
    }
    return "rgb(255, 255, 255)";
  };
  const found = [];
  for (const element of document.querySelectorAll("body *")) {
    if (element.closest("svg") || !element.innerText) continue;
    const [a, b] = [light(getComputedStyle(element).color), light(back(element))];
    const ratio = (Math.max(a, b) + .05) / (Math.min(a, b) + .05);
    if (ratio < 4.5) found.push([element.outerHTML.slice(0, 80), ratio]);
  }
  return found;
}"""
"""Text that can hardly be read on what is behind it: the element, and the contrast."""


class Seen:
    """A page that is open, and what went on in it."""

    def __init__(self, page: Any) -> None:
        self.page = page
        self.requests: list[str] = []
        self.said: list[str] = []
        page.on("request", lambda request: self.requests.append(request.url))
        page.on("console", lambda message: self.said.append(message.text))
        page.on("pageerror", lambda error: self.said.append(str(error)))
        page.on("dialog", lambda dialog: self.said.append(f"dialog {dialog.message}"))

    def ask(self, script: str) -> Any:
        """What a script in the page finds."""
        return self.page.evaluate(script)


class Browser:
    """Opens files."""

    def __init__(self, chromium: Any) -> None:
        self._chromium = chromium

    @contextmanager
    def open(self, path: Path, *, phone: bool = False, dark: bool = False) -> Iterator[Seen]:
        """A file from the disk, without any network."""
        context = self._chromium.new_context(
            viewport=_PHONE if phone else _DESK,
            color_scheme="dark" if dark else "light",
            offline=True,
        )
        try:
            seen = Seen(context.new_page())
            seen.page.goto(path.as_uri())
            yield seen
        finally:
            context.close()


def _executable() -> str:
    found = os.environ.get(CHROMIUM) or shutil.which("chromium")
    if not found:
        pytest.fail(
            f"there is no chromium for tests marked `browser`: apt-get install chromium, name one "
            f"with {CHROMIUM}, or leave these tests out with -m 'not browser'"
        )
    return found


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """The browser; without one the tests fail."""
    executable = _executable()
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        # its sandbox does not work for root, who runs these tests in containers
        sandbox = ["--no-sandbox"] if os.getuid() == 0 else []
        chromium = playwright.chromium.launch(executable_path=executable, args=sandbox)
        yield Browser(chromium)
        chromium.close()
