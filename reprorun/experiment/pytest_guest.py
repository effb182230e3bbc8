"""pytest's side of `@pytest.mark.reproducible` in the container: there the mark says nothing."""

import os
from typing import Any

MARK = "reproducible"


def pytest_configure(config: Any) -> None:
    """Makes the mark known, which some projects demand of all marks."""
    config.addinivalue_line("markers", MARK + ": runs in a container of its own")


def pytest_unconfigure(config: Any) -> None:
    """Removes the links that pytest makes to the newest directories: they lead elsewhere."""
    base = config.getoption("basetemp", None)
    if not base or not os.path.isdir(base):
        return
    for name in os.listdir(base):
        path = os.path.join(base, name)
        if os.path.islink(path) and name.endswith("current"):
            os.unlink(path)
