"""LogEncoder and dump_json."""

from __future__ import annotations

import collections
import datetime
import enum
import functools
import itertools
import json
import os
import pathlib
import subprocess
import sys
import types
import uuid

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reprorun.experiment import LogEncoder, dump_json

HERE = __name__


class Color(enum.Enum):
    RED = 1


class Level(enum.IntEnum):
    HIGH = 3


class Plain:
    def __init__(self, **attributes):
        self.__dict__.update(attributes)


class Slotted:
    __slots__ = ("__hidden", "a", "unset")

    def __init__(self):
        self.a = 1
        self.__hidden = 2


class SlottedChild(Slotted):
    def __init__(self):
        super().__init__()
        self.b = 3


class Hostile:
    @property
    def __class__(self):
        raise RuntimeError("not bound")

    @property
    def __dict__(self):
        raise RuntimeError("not bound")

    def __repr__(self):
        raise RuntimeError("not bound")


Point = collections.namedtuple("Point", "x y")


def function():
    pass


def encoded(value):
    return json.loads(json.dumps(value, cls=LogEncoder))


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ({"a": [1, 2.5, True, None, "é"]}, {"a": [1, 2.5, True, None, "é"]}),
        (Plain, {"$typename": f"{HERE}.Plain"}),
        (int, {"$typename": "builtins.int"}),
        (Color.RED, {"$enum": f"{HERE}.Color.RED"}),
        ([Level.HIGH], [{"$enum": f"{HERE}.Level.HIGH"}]),
        (function, {"$function": f"{HERE}.function"}),
        (len, {"$function": "builtins.len"}),
        (
            Plain(a=1, b=[Plain()]),
            {"a": 1, "b": [{"$type": f"{HERE}.Plain"}], "$type": f"{HERE}.Plain"},
        ),
        (Slotted(), {"a": 1, "__hidden": 2, "$type": f"{HERE}.Slotted"}),
        (SlottedChild(), {"a": 1, "__hidden": 2, "b": 3, "$type": f"{HERE}.SlottedChild"}),
        (Point(1, 2), {"x": 1, "y": 2, "$type": f"{HERE}.Point"}),
        ((1, (2,)), [1, [2]]),
        (collections.deque([1]), [1]),
        ({"b", "a"}, ["a", "b"]),
        (frozenset([Color]), [{"$typename": f"{HERE}.Color"}]),
        (b"\xff", "b'\\xff'"),
        (bytearray(b"a"), "bytearray(b'a')"),
        (pathlib.PurePosixPath("/a/b"), "/a/b"),
        (datetime.datetime(2020, 1, 2, 3, 4, 5), "2020-01-02T03:04:05"),
        (datetime.date(2020, 1, 2), "2020-01-02"),
        (datetime.timedelta(seconds=1), "datetime.timedelta(seconds=1)"),
        (1 + 2j, "(1+2j)"),
        (range(10**12), "range(0, 1000000000000)"),
        (ValueError("x"), "ValueError('x')"),
        (types.MappingProxyType({"a": 1}), {"a": 1}),
        (collections.OrderedDict(b=1, a=2), {"a": 2, "b": 1}),
        (
            functools.partial(function, 1, k=2),
            {
                "func": {"$function": f"{HERE}.function"},
                "args": [1],
                "keywords": {"k": 2},
                "$type": "functools.partial",
            },
        ),
    ],
)
def test_forms(value, expected):
    assert encoded(value) == expected
    assert encoded([value]) == [expected]


def test_keys():
    value = {1.5: 1, None: 2, True: 3, Color.RED: 4, Plain: 5, "s": 6, b"b": 7}
    assert encoded(value) == {
        "1.5": 1,
        "null": 2,
        "true": 3,
        "Color.RED": 4,
        str(Plain): 5,
        "s": 6,
        "b'b'": 7,
    }


def test_keys_that_are_the_same_as_text_are_both_kept():
    assert encoded({1: "a", "1": "b", None: "c"}) == {"1": "a", "1 (str)": "b", "null": "c"}


def test_integers_that_python_refuses_to_print():
    assert encoded([10**5000]) == [hex(10**5000)]


def test_not_a_number_stays():
    assert json.dumps([float("nan"), float("inf")], cls=LogEncoder) == "[NaN, Infinity]"


def test_circular_references_become_strings():
    data = {"list": [1]}
    data["self"] = data
    data["list"].append(data["list"])
    thing = Plain()
    thing.me = thing
    data["thing"] = thing
    result = encoded(data)
    assert result["self"].startswith("circular {")
    assert result["list"] == [1, "circular [1, [...]]"]
    assert result["thing"]["me"].startswith("circular <")


def test_the_same_object_twice_is_not_circular():
    shared = [1]
    assert encoded({"a": shared, "b": [shared, shared]}) == {"a": [1], "b": [[1], [1]]}


def test_deep_and_endless_things_end():
    deep: list = []
    for _ in range(100_000):
        deep = [deep]
    assert json.dumps(deep, cls=LogEncoder).startswith("[[[[")
    node = Plain(x=1)
    for _ in range(40):
        node = Plain(left=node, right=node)
    assert len(json.dumps(node, cls=LogEncoder)) < 50_000_000


def test_nothing_is_used_up():
    counter, generator = itertools.count(), (x for x in [1, 2])
    assert encoded([counter, generator])[0] == "count(0)"
    assert next(counter) == 0
    assert [*generator] == [1, 2]


@pytest.mark.parametrize("package", ["tensorflow", "ray", "itertools"])
def test_objects_of_some_packages_become_their_repr(package):
    kind = type("Thing", (), {"__module__": f"{package}.sub", "__repr__": lambda self: "a thing"})
    thing = kind()
    thing.attribute = 1
    assert encoded({"a": thing}) == {"a": "a thing"}


def test_what_has_no_repr_is_named_by_its_type():
    assert encoded([Hostile()]) == [f"<{HERE}.Hostile, which has no repr>"]
    assert encoded({Hostile(): 1}) == {f"<{HERE}.Hostile, which has no repr>": 1}


def test_default_can_be_called_as_it_is():
    assert LogEncoder().default({"a": {1, 2}}) == {"a": [1, 2]}


values = st.recursive(
    st.one_of(
        st.none(),
        st.booleans(),
        st.integers(),
        st.floats(),
        st.complex_numbers(),
        st.text(),
        st.binary(),
        st.uuids(),
        st.dates(),
        st.timedeltas(),
        st.decimals(),
        st.fractions(),
        st.sampled_from([Color.RED, Level.HIGH, Plain, function, len, ..., NotImplemented, json]),
        st.builds(Plain),
        st.builds(lambda: Plain(a=Hostile())),  # inside, since hypothesis wants to print it
        st.builds(object),
    ),
    lambda inner: st.one_of(
        st.lists(inner),
        st.lists(inner).map(tuple),
        st.lists(inner).map(iter),
        st.dictionaries(
            st.one_of(st.text(), st.integers(), st.floats(), st.none(), st.dates()), inner
        ),
        st.builds(Point, inner, inner),
        st.builds(Plain, a=inner),
    ),
)


@given(values, st.booleans())
def test_it_never_raises(value, sort_keys):
    text = json.dumps(value, cls=LogEncoder, sort_keys=sort_keys, indent=1)
    json.loads(text)


class TestNumpy:
    """With a stand-in, since the checks run without numpy; tests/guest_selftest.py has none."""

    @pytest.fixture
    def numpy(self, monkeypatch):
        numpy = types.ModuleType("numpy")

        class Generic:
            def __init__(self, value):
                self.value = value

            def __float__(self):
                return float(self.value)

            def __bool__(self):
                return bool(self.value)

            def __str__(self):
                return f"str of {self.value}"

        class Array:
            def __init__(self, items):
                self.items = items
                self.size = len(items)

            def tolist(self):
                return self.items

            def __repr__(self):
                return "array([...])"

        numpy.generic, numpy.ndarray = Generic, Array
        for name in ("bool_", "integer", "floating", "complexfloating"):
            setattr(numpy, name, type(name, (Generic,), {}))
        numpy.timedelta64 = type("timedelta64", (numpy.integer,), {})
        monkeypatch.setitem(sys.modules, "numpy", numpy)
        return numpy

    def test_scalars(self, numpy):
        result = LogEncoder().default(
            [numpy.integer(3), numpy.floating(0.5), numpy.bool_(1), numpy.timedelta64(5)]
        )
        assert result == [3.0, 0.5, True, "str of 5"]
        assert [type(item) for item in result] == [float, float, bool, str]

    def test_arrays(self, numpy):
        assert encoded(numpy.ndarray([1, [2]])) == [1, [2]]
        assert encoded(numpy.ndarray([0] * 1000)) == [0] * 1000
        assert encoded(numpy.ndarray([0] * 1001)) == "array([...])"


def test_numpy_is_not_imported(tmp_path):
    (tmp_path / "numpy.py").write_text("raise SystemExit('imported')")
    code = (
        "import json; from reprorun.experiment import LogEncoder;"
        "json.dumps([{1}, object()], cls=LogEncoder)"
    )
    path = os.pathsep.join([str(tmp_path), *sys.path])
    subprocess.run([sys.executable, "-c", code], check=True, env={**os.environ, "PYTHONPATH": path})


class TestDumpJson:
    def test_sorted_and_indented(self, tmp_path):
        path = tmp_path / "new" / "deeper" / "x.json"
        dump_json(path, {"b": 1, "a": {2: [uuid.UUID(int=1)]}, 1: None})
        text = path.read_text()
        assert text.startswith('{\n  "1": null,\n  "a": {\n    "2": [\n')
        assert json.loads(text)["b"] == 1

    def test_a_file_name_without_a_directory(self, tmp_path, monkeypatch):
        monkeypatch.chdir(tmp_path)
        dump_json("x.json", [1])
        assert json.loads(pathlib.Path("x.json").read_text()) == [1]

    def test_it_replaces_and_leaves_nothing_behind(self, tmp_path):
        for value in (1, 2):
            dump_json(str(tmp_path / "x.json"), value)
        assert json.loads((tmp_path / "x.json").read_text()) == 2
        assert [path.name for path in tmp_path.iterdir()] == ["x.json"]

    def test_a_failure_keeps_the_old_content(self, tmp_path, monkeypatch):
        dump_json(str(tmp_path / "x.json"), 1)

        def full(descriptor):
            raise OSError(28, "No space left on device")

        monkeypatch.setattr(os, "fsync", full)
        with pytest.raises(OSError, match="No space"):
            dump_json(str(tmp_path / "x.json"), 2)
        assert (tmp_path / "x.json").read_text() == "1\n"
        assert [path.name for path in tmp_path.iterdir()] == ["x.json"]
