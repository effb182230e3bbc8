"""Notebooks by cell and output."""

from __future__ import annotations

import base64
import copy
import io
import json
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from reprorun.compare.notebook import compare
from reprorun.compare.registry import compare_contents
from reprorun.compare.values import Finding, Settings, Tolerance, Unreadable

from .rich_kit import SETTINGS, Damage, content, damages, judged


def picture(value: int, **more: Any) -> str:
    out = io.BytesIO()
    Image.fromarray(np.full((3, 3), value, dtype=np.uint8)).save(out, "PNG", **more)
    return base64.b64encode(out.getvalue()).decode()


def notebook() -> dict[str, Any]:
    return {
        "nbformat": 4,
        "nbformat_minor": 5,
        "metadata": {"kernelspec": {"name": "python3"}, "language_info": {"version": "3.10"}},
        "cells": [
            {"cell_type": "markdown", "id": "a1", "metadata": {}, "source": ["# Title\n", "text"]},
            {
                "cell_type": "code",
                "id": "b2",
                "metadata": {"execution": {"iopub.execute_input": "2024-01-01T00:00:00Z"}},
                "execution_count": 1,
                "source": "train()",
                "outputs": [
                    {"output_type": "stream", "name": "stdout", "text": ["loss 0.5\n", "done\n"]},
                    {"output_type": "stream", "name": "stderr", "text": "warned\n"},
                    {
                        "output_type": "display_data",
                        "metadata": {},
                        "data": {"image/png": picture(7), "text/plain": ["<Figure>"]},
                    },
                    {
                        "output_type": "execute_result",
                        "execution_count": 1,
                        "data": {"application/json": {"loss": 0.5, "n": 1}},
                    },
                    {
                        "output_type": "error",
                        "ename": "E",
                        "evalue": "bad",
                        "traceback": ["a", "b"],
                    },
                ],
            },
        ],
    }


def judge(a: Any, b: Any, with_settings: Settings = SETTINGS) -> Finding:
    one, other = (content("n.ipynb", json.dumps(each).encode()) for each in (a, b))
    return compare(one, other, with_settings)


def changed(path: tuple[Any, ...], value: Any) -> dict[str, Any]:
    found = copy.deepcopy(notebook())
    place: Any = found
    for step in path[:-1]:
        place = place[step]
    place[path[-1]] = value
    return found


OUTPUTS = ("cells", 1, "outputs")


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("cells", 1, "execution_count"), 7),
        ((*OUTPUTS, 3, "execution_count"), 7),
        (("cells", 0, "id"), "other"),
        (("metadata",), {}),
        (("cells", 1, "metadata"), {"execution": {"iopub.execute_input": "2025"}}),
        (("cells", 0, "source"), "# Title\ntext"),
        ((*OUTPUTS, 2, "data", "image/png"), picture(7, dpi=(9, 9), compress_level=0)),
        (
            OUTPUTS,
            [
                {"output_type": "stream", "name": "stdout", "text": "loss 0.5\n"},
                {"output_type": "stream", "name": "stdout", "text": "done\n"},
                *notebook()["cells"][1]["outputs"][1:],
            ],
        ),
    ],
)
def test_what_says_nothing_is_aside(path: tuple[Any, ...], value: Any) -> None:
    found = judge(notebook(), changed(path, value))
    assert (found.verdict, found.divergence) == ("equivalent", None)


@pytest.mark.parametrize(
    ("path", "value", "where"),
    [
        (("cells", 0, "source"), "# Other", "cell 1: line 2"),
        (("cells", 0, "cell_type"), "raw", "cell 1: line 1"),
        ((*OUTPUTS, 0, "text"), "loss 0.5\nbroken\n", "cell 2, output 1, stdout: line 2"),
        ((*OUTPUTS, 0, "text"), "loss 0.6\ndone\n", "cell 2, output 1, stdout: line 1"),
        ((*OUTPUTS, 0, "name"), "stderr", "cell 2, output 1, stdout"),
        (
            (*OUTPUTS, 2, "data", "image/png"),
            picture(8),
            "cell 2, output 3, image/png: pixel (0, 0)",
        ),
        (
            (*OUTPUTS, 3, "data", "application/json", "loss"),
            0.75,
            "cell 2, output 4, application/json: $.loss",
        ),
        ((*OUTPUTS, 4, "evalue"), "worse", "cell 2, output 5, error: line 2"),
        (OUTPUTS, notebook()["cells"][1]["outputs"][:4], "cell 2, output 5, error"),
        (("cells",), notebook()["cells"][:1], "cell 2"),
    ],
)
def test_any_other_change_is_found(path: tuple[Any, ...], value: Any, where: str) -> None:
    for pair in ((notebook(), changed(path, value)), (changed(path, value), notebook())):
        found = judge(*pair)
        assert found.verdict == "different"
        assert found.divergence is not None
        if pair[0] == notebook():
            assert found.divergence.where.startswith(where)


def test_volatile_parts_and_tolerance() -> None:
    later = changed((*OUTPUTS, 0, "text"), "loss 0.5\ndone in 3.2 s\n")
    earlier = changed((*OUTPUTS, 0, "text"), "loss 0.5\ndone in 1.7 s\n")
    found = judge(earlier, later)
    assert found.verdict == "equivalent"
    assert [each.what for each in found.volatile] == ["duration"]
    near = changed((*OUTPUTS, 0, "text"), "loss 0.5001\ndone\n")
    allowed = Settings(files=(("*.ipynb", Tolerance(atol=0.01)),))
    assert judge(notebook(), near, allowed).verdict == "within tolerance"
    assert judge(notebook(), near).verdict == "different"


# ---------------------------------------------------------------- bad input


@settings(max_examples=150, deadline=None)
@given(damages(), st.booleans())
def test_damage_is_a_verdict(damage: Damage, first: bool) -> None:
    plain = changed((*OUTPUTS, 2, "data"), {"text/plain": "x"})
    good = json.dumps(plain).encode()
    judged(compare, "n.ipynb", *((damage(good), good) if first else (good, damage(good))))


values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=3),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3)
    ),
    max_leaves=5,
)
PLACES = [
    ("cells",), ("cells", 0), ("cells", 0, "source"), ("cells", 0, "attachments"), OUTPUTS,
    (*OUTPUTS, 0), (*OUTPUTS, 0, "text"), (*OUTPUTS, 0, "name"), (*OUTPUTS, 2, "data"),
    (*OUTPUTS, 2, "data", "image/png"), (*OUTPUTS, 3, "data", "application/json"),
    (*OUTPUTS, 4, "traceback"), (*OUTPUTS, 4, "output_type"),
]  # fmt: skip


@settings(max_examples=150, deadline=None)
@given(st.sampled_from(PLACES), values)
def test_any_value_in_any_place_is_a_verdict(path: tuple[Any, ...], value: Any) -> None:
    one, other = (json.dumps(each).encode() for each in (changed(path, value), notebook()))
    judged(compare, "n.ipynb", one, other)


@pytest.mark.parametrize(
    "bad", [b"", b"[]", b"[" * 100_000, b'{"cells": 1}', b'{"worksheets": []}']
)
def test_what_is_no_notebook(bad: bytes) -> None:
    with pytest.raises(Unreadable):
        compare(content("n.ipynb", bad), content("n.ipynb", b"{}"), SETTINGS)
    found = compare_contents(content("n.ipynb", bad), content("n.ipynb", b"{}"), SETTINGS)
    assert found.verdict == "different"
