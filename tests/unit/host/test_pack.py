"""`pack` and `opened` on the fake engine: what is packed is found again where there is nothing."""

from __future__ import annotations

import errno
import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from reprorun import files, store
from reprorun.engine.fake import FakeEngine, FakeProcess
from reprorun.engine.images import write_loadable
from reprorun.environment.fetch import cached, keep
from reprorun.errors import EngineError, ImageMissing, LockFailed, RecordError, UsageError
from reprorun.model import Output, Package, Record, RemoteFile, RunSpec
from reprorun.pack import writing
from reprorun.pack.reading import Pack
from reprorun.workflow import pack as workflow
from reprorun.workflow.base import image_digest
from reprorun.workflow.exec import execute
from reprorun.workflow.opened import Opened, opened
from reprorun.workflow.pack import Packed, pack
from reprorun.workflow.restore import base_tag

from ..conftest import MakeRepository
from . import packs
from .packs import LAYERS, WHEEL, WHEEL_CONTENT, entries, rewritten, swap
from .test_exec import Told
from .values import ANSWER

SCRIPT = {"train.py": "print('hello')\n"}


class Layer:
    def __init__(self, data: bytes) -> None:
        self.data, self.size, self.diff_id = data, len(data), packs.diff_id(data)

    def pieces(self) -> Iterator[bytes]:
        yield self.data


def python(process: FakeProcess) -> int:
    process.write("/log/result.txt", b"42\n")
    return 0


def asked(process: FakeProcess) -> int:
    process.say(json.dumps(ANSWER))
    return 0


def empty_engine() -> FakeEngine:
    return FakeEngine(programs={"python": python, "/bin/sh": asked})


def engine_with_base() -> FakeEngine:
    engine = empty_engine()
    layers = [Layer(data) for data in LAYERS]
    engine.load_image(write_loadable(["base:1"], packs.settings(*LAYERS), layers), "base:1")
    return engine


class Lab:
    """A finished run with a package and two inputs, and where its pack goes."""

    def __init__(self, root: Path, place: Path) -> None:
        self.told = Told()
        self.engine = engine_with_base()
        self.target = place / "run.rrpack"
        self.inputs = (place / "data.bin", place / "data")
        packs.make_input(self.inputs[0], "", b"data" * 1000)
        packs.make_input(self.inputs[1], "", {"a/x.txt": b"x", "b.sh": b"42\n"})
        (self.inputs[1] / "b.sh").chmod(0o755)
        spec = RunSpec(
            script="train.py",
            cwd=str(root),
            base_image="base:1",
            inputs=tuple(str(path) for path in self.inputs),
        )
        finished = execute(spec, lambda: self.engine, self.told)
        self.log_dir = Path(finished.log_dir)
        sha256, self.wheel = keep(WHEEL, WHEEL_CONTENT)
        wheel = RemoteFile(name=WHEEL, sha256=sha256, size=len(WHEEL_CONTENT))
        self.package = Package(name="six", version="1.0", wheel=wheel)
        self.change(packages=(self.package,))

    @property
    def record(self) -> Record:
        return store.read_record(str(self.log_dir))

    def change(self, **fields: Any) -> None:
        store.write_record(str(self.log_dir), msgspec.structs.replace(self.record, **fields))

    def pack(self, **given: Any) -> Packed:
        output = given.pop("output", str(self.target))
        return pack(
            str(self.log_dir), output, lambda: self.engine, self.told, offline=True, **given
        )

    def refusal(self, kind: type[Exception] = UsageError, **given: Any) -> str:
        """What is said; there is no pack then, nor a part of one."""
        before = sorted(os.listdir(self.target.parent))
        with pytest.raises(kind) as caught:
            self.pack(**given)
        assert sorted(os.listdir(self.target.parent)) == before
        return str(caught.value)


@pytest.fixture
def lab(repository: MakeRepository, tmp_path: Path) -> Lab:
    (tmp_path / "place").mkdir()
    return Lab(repository(SCRIPT), tmp_path / "place")


@pytest.fixture
def elsewhere(lab: Lab, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FakeEngine:
    """Another machine: nothing but the pack, and an engine and a cache without anything."""
    lab.pack()
    for variable in ("XDG_CACHE_HOME", "XDG_STATE_HOME"):
        monkeypatch.setenv(variable, str(tmp_path / "elsewhere" / variable.lower()))
    shutil.rmtree(lab.log_dir)
    lab.inputs[0].unlink()
    shutil.rmtree(lab.inputs[1])
    return empty_engine()


def tree(place: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(place)): path.read_bytes()
        for path in sorted(place.rglob("*"))
        if path.is_file()
    }


# ---------------------------------------------------------------- packing


def test_what_is_packed(lab: Lab) -> None:
    before = tree(lab.log_dir)
    packed = lab.pack()
    assert packed.path == str(lab.target)
    assert packed.size == lab.target.stat().st_size
    assert (packed.files, packed.wheels, packed.layers, packed.inputs) == (len(before), 1, 2, 2)
    assert (packed.base_image, packed.left_out, packed.inputs_left_out) == ("base:1", (), ())
    assert tree(lab.log_dir) == before
    with Pack.open(str(lab.target)) as opened_pack:
        index = opened_pack.index
    assert {file.path for file in index.record} == set(before)
    assert index.name == lab.log_dir.name
    assert [wheel.name for wheel in index.wheels] == [WHEEL]
    assert index.image.digest == packs.base_digest(*LAYERS)
    assert {each.target for each in index.inputs} == {str(path) for path in lab.inputs}


def test_without_inputs_they_are_listed(lab: Lab) -> None:
    lab.inputs[0].unlink()
    packed = lab.pack(inputs=False)
    assert packed.inputs == 0
    assert packed.inputs_left_out == lab.record.inputs
    with Pack.open(str(lab.target)) as opened_pack:
        assert opened_pack.index.inputs_left_out == lab.record.inputs
    assert not [name for name in entries(lab.target) if name.startswith("inputs/")]


def test_inputs_that_changed_are_listed_together(lab: Lab) -> None:
    lab.inputs[0].unlink()
    (lab.inputs[1] / "a/x.txt").write_text("y")
    said = lab.refusal(RecordError)
    assert all(str(path) in said for path in lab.inputs)
    assert "--input-root" in said
    assert "--no-inputs" in said


def test_inputs_that_are_elsewhere(lab: Lab, tmp_path: Path) -> None:
    (tmp_path / "moved").mkdir()
    for path in lab.inputs:
        path.rename(tmp_path / "moved" / path.name)
    assert lab.pack(roots=[str(tmp_path / "moved")]).inputs == 2


def test_outputs_that_changed_are_named(lab: Lab) -> None:
    (lab.log_dir / "result.txt").write_text("43\n")
    assert "result.txt (has changed)" in lab.refusal(RecordError)
    (lab.log_dir / "result.txt").unlink()
    assert "result.txt (is missing)" in lab.refusal(RecordError)


def test_an_archive_that_changed(lab: Lab) -> None:
    with (lab.log_dir / store.ARCHIVE_FILE).open("ab") as file:
        file.write(b"\0")
    assert store.ARCHIVE_FILE in lab.refusal(RecordError)


def test_payloads_are_verified(lab: Lab) -> None:
    (lab.log_dir / "args_data.b64").write_text("x")
    payload = Output(path="args_data.b64", size=1, sha256=packs.sha256(b"y"))
    lab.change(payloads=(payload,))
    assert "args_data.b64" in lab.refusal(RecordError)


def test_a_record_of_garage(lab: Lab) -> None:
    for name in (store.RUN_FILE, store.LOCK_FILE, store.CONSOLE_FILE, store.DOCKERFILE):
        (lab.log_dir / name).unlink(missing_ok=True)
    (lab.log_dir / store.VARIANT_FILE).write_text("{}")
    assert "run it again" in lab.refusal().lower()


def test_a_run_that_has_not_ended(lab: Lab) -> None:
    lab.change(status="running", exit_code=None)
    assert "is running: pack it when it has ended" in lab.refusal()


def test_what_is_no_record(lab: Lab, tmp_path: Path) -> None:
    for path in (tmp_path, lab.target, tmp_path / "nothing"):
        with pytest.raises(UsageError):
            pack(str(path), str(tmp_path / "p"), lambda: lab.engine, lab.told)
    lab.pack()
    with pytest.raises(UsageError, match="is a file"):
        pack(str(lab.target), str(tmp_path / "p"), lambda: lab.engine, lab.told)


def test_the_name_of_the_pack(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(lab.target.parent)
    assert lab.pack(output=None).path == str(lab.target.with_name("train.rrpack"))


def test_a_pack_is_not_written_over(lab: Lab) -> None:
    lab.target.write_text("precious")
    assert "--force" in lab.refusal()
    assert lab.target.read_text() == "precious"
    lab.pack(force=True)
    with Pack.open(str(lab.target)):
        pass


def test_where_a_pack_can_not_be(lab: Lab) -> None:
    inside = str(lab.log_dir / "run.rrpack")
    assert "lies in the record itself" in lab.refusal(output=inside)
    for output in (str(lab.target.parent), str(lab.target.parent / "no/such/p")):
        assert "can't be written" in lab.refusal(output=output)
        assert "can't be written" in lab.refusal(output=output, force=True)


def test_a_base_image_that_is_gone(lab: Lab) -> None:
    lab.engine.remove_image("base:1")
    assert "base:1" in lab.refusal(ImageMissing)


def test_a_records_own_dockerfile_is_not_built_for_a_pack(lab: Lab) -> None:
    base = lab.record.base_image
    assert base
    lab.change(base_image=msgspec.structs.replace(base, dockerfile="train.py"))
    lab.engine.remove_image("base:1")
    lab.engine.builds.clear()
    assert "--rebuild (of `rerun`" in lab.refusal(ImageMissing)
    assert lab.engine.builds == []


def test_an_engine_that_saves_another_image(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    layers = [Layer(LAYERS[0])]
    other = list(write_loadable([], packs.settings(LAYERS[0]), layers))
    monkeypatch.setattr(lab.engine, "save", lambda image: iter(other))
    assert "otherwise than it describes it" in lab.refusal(EngineError)
    changed = [Layer(LAYERS[0]), Layer(LAYERS[0])]
    other[:] = write_loadable([], packs.settings(*LAYERS), changed)
    assert "otherwise than it describes it" in lab.refusal(EngineError)
    same = [Layer(data) for data in LAYERS]
    other[:] = write_loadable([], packs.settings(*LAYERS, env=("A=1",)), same)
    assert "otherwise than it describes it" in lab.refusal(EngineError)


def test_a_package_that_is_gone(lab: Lab) -> None:
    Path(lab.wheel).unlink()
    assert "six 1.0" in lab.refusal(LockFailed)


def test_a_package_that_came_out_otherwise(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    from reprorun.model import Lock

    monkeypatch.setattr(workflow, "restore_lock", lambda *given: Lock())
    assert "not to be had as the record has them: six" in lab.refusal(LockFailed)


def test_a_full_disk(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*given: Any) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(writing, "_copy", full)
    said = lab.refusal(EngineError)
    assert "is full" in said
    assert "-o" in said


@pytest.mark.parametrize("step", ["add_files", "add_wheels", "read_saved", "add_inputs"])
def test_an_interrupt_leaves_nothing(lab: Lab, monkeypatch: pytest.MonkeyPatch, step: str) -> None:
    def interrupt(*given: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(workflow, step, interrupt)
    before = os.listdir(lab.target.parent)
    with pytest.raises(KeyboardInterrupt):
        lab.pack()
    assert os.listdir(lab.target.parent) == before


# ---------------------------------------------------------------- opening


def test_a_directory_is_taken_as_it_is(lab: Lab) -> None:
    with opened(os.path.relpath(lab.log_dir), lab.told) as found:
        assert (found.log_dir, found.pack) == (str(lab.log_dir), None)
        found.provide(empty_engine(), lab.told)
        assert found.inputs(lab.record) == {}
    assert lab.log_dir.exists()


def test_what_is_neither(lab: Lab, tmp_path: Path) -> None:
    with pytest.raises(RecordError, match="neither a directory nor a pack"):
        open_and_leave(tmp_path / "nothing")
    (tmp_path / "text").write_text("x")
    with pytest.raises(RecordError, match="is no pack"):
        open_and_leave(tmp_path / "text")
    (tmp_path / "link").symlink_to("nowhere")
    with pytest.raises(RecordError, match="is no pack"):
        open_and_leave(tmp_path / "link")


def open_and_leave(path: Path) -> None:
    with opened(str(path), Told()):
        pass


def test_a_pack_gives_all_that_it_holds(lab: Lab, elsewhere: FakeEngine) -> None:
    with opened(str(lab.target), lab.told) as found:
        record = store.read_record(found.log_dir)
        assert (Path(found.log_dir).name, found.pack) == ("train", str(lab.target))
        assert Path(found.log_dir, "result.txt").read_bytes() == b"42\n"
        found.provide(elsewhere, lab.told)
        copies = found.inputs(record)
    assert record.packages == (lab.package,)
    path = cached(lab.package.wheel)
    assert path is not None
    assert Path(path).read_bytes() == WHEEL_CONTENT
    assert record.base_image is not None
    (image,) = elsewhere.tagged_images("reprorun/base")
    assert image.tags == (base_tag(record.base_image.digest),)
    assert image_digest(image) == record.base_image.digest
    assert Path(copies[str(lab.inputs[0])]).read_bytes() == b"data" * 1000
    many = Path(copies[str(lab.inputs[1])])
    assert tree(many) == {"a/x.txt": b"x", "b.sh": b"42\n"}
    assert os.access(many / "b.sh", os.X_OK)


def test_nothing_stays_of_the_scratch_directory(lab: Lab, elsewhere: FakeEngine) -> None:
    with opened(str(lab.target), lab.told) as found:
        found.provide(elsewhere, lab.told)
        found.inputs(store.read_record(found.log_dir))
        assert os.path.isdir(found.log_dir)
    assert os.listdir(files.cache_directory("scratch")) == []
    with pytest.raises(KeyboardInterrupt):
        interrupted(lab.target)
    assert os.listdir(files.cache_directory("scratch")) == []


def interrupted(path: Path) -> None:
    with opened(str(path), Told()):
        raise KeyboardInterrupt


def used(path: Path, engine: FakeEngine) -> dict[str, str]:
    with opened(str(path), Told()) as found:
        found.provide(engine, Told())
        return found.inputs(store.read_record(found.log_dir))


def test_what_is_there_is_not_brought_again(
    lab: Lab, elsewhere: FakeEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = used(lab.target, elsewhere)

    def refuse(*given: Any, **more: Any) -> Any:
        raise AssertionError("brought again")

    monkeypatch.setattr(FakeEngine, "load_image", refuse)
    monkeypatch.setattr(Pack, "write", _only_record(Pack.write))
    assert used(lab.target, elsewhere) == first


def _only_record(write: Any) -> Any:
    def checked(self: Pack, stored: Any, target: str, **more: Any) -> None:
        assert target.split("/")[-2] == "train", target
        write(self, stored, target, **more)

    return checked


def test_the_base_image_is_found_under_another_name(lab: Lab, elsewhere: FakeEngine) -> None:
    engine = engine_with_base()
    used(lab.target, engine)
    assert engine.tagged_images("reprorun/base") == ()


def test_another_image_under_the_same_name_is_not_taken(lab: Lab, elsewhere: FakeEngine) -> None:
    settings = packs.settings(LAYERS[1])
    elsewhere.load_image(write_loadable(["base:1"], settings, [Layer(LAYERS[1])]), "base:1")
    used(lab.target, elsewhere)
    (image,) = elsewhere.tagged_images("reprorun/base")
    assert image_digest(image) == packs.base_digest(*LAYERS)


def test_what_is_damaged_in_the_cache_is_brought_again(lab: Lab, elsewhere: FakeEngine) -> None:
    copies = used(lab.target, elsewhere)
    wheel = Path(cached(lab.package.wheel) or "")
    wheel.write_bytes(b"!" * len(WHEEL_CONTENT))
    one, many = (Path(copies[str(path)]) for path in lab.inputs)
    one.write_bytes(b"!")
    (many / "more").write_text("!")
    assert used(lab.target, elsewhere) == copies
    assert wheel.read_bytes() == WHEEL_CONTENT
    assert one.read_bytes() == b"data" * 1000
    assert sorted(os.listdir(many)) == ["a", "b.sh"]


def test_links_in_the_place_of_copies(lab: Lab, elsewhere: FakeEngine, tmp_path: Path) -> None:
    copies = used(lab.target, elsewhere)
    (tmp_path / "secret").write_bytes(b"data" * 1000)
    one = Path(copies[str(lab.inputs[0])])
    one.unlink()
    one.symlink_to(tmp_path / "secret")
    used(lab.target, elsewhere)
    assert not one.is_symlink()
    assert (tmp_path / "secret").exists()


def test_a_damaged_input_is_no_copy(lab: Lab, elsewhere: FakeEngine) -> None:
    swap(lab.target, "inputs/1", b"DATA" * 1000)
    with pytest.raises(RecordError, match="'inputs/1' has changed"):
        used(lab.target, elsewhere)
    assert [n for n in os.listdir(files.cache_directory("inputs")) if n] == []


def test_inputs_that_the_record_does_not_have_are_passed_over(
    lab: Lab, elsewhere: FakeEngine
) -> None:
    with opened(str(lab.target), lab.told) as found:
        record = store.read_record(found.log_dir)
        first, second = record.inputs
        changed = msgspec.structs.replace(first, sha256="0" * 64)
        assert set(found.inputs(msgspec.structs.replace(record, inputs=(second,)))) == {
            second.target
        }
        assert set(found.inputs(msgspec.structs.replace(record, inputs=(changed, second)))) == {
            second.target
        }


def test_a_pack_without_inputs(lab: Lab) -> None:
    lab.pack(inputs=False)
    assert used(lab.target, empty_engine()) == {}


def image_of(index: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = index["image"]
    return found


@pytest.mark.parametrize(
    "edit",
    [
        lambda index: image_of(index).update(digest="sha256:" + "0" * 64),
        lambda index: image_of(index)["layers"].pop(),
        lambda index: image_of(index)["layers"].reverse(),
    ],
)
def test_another_image_than_the_records(lab: Lab, elsewhere: FakeEngine, edit: packs.Edit) -> None:
    rewritten(lab.target, edit)
    with pytest.raises(RecordError, match="another base image than its record had"):
        used(lab.target, elsewhere)
    assert elsewhere.images == {}


def test_an_image_that_was_exchanged_with_its_settings(lab: Lab, elsewhere: FakeEngine) -> None:
    settings = packs.settings(*LAYERS, env=("PATH=/evil",))

    def edit(index: dict[str, Any]) -> None:
        given = {"sha256": packs.sha256(settings), "size": len(settings)}
        image_of(index)["settings"].update(given)

    rewritten(lab.target, edit)
    swap(lab.target, "image/settings.json", settings)
    with pytest.raises(RecordError, match="another base image than its record had"):
        used(lab.target, elsewhere)
    assert elsewhere.images == {}


def test_settings_that_are_none(lab: Lab, elsewhere: FakeEngine) -> None:
    def edit(index: dict[str, Any]) -> None:
        image_of(index)["settings"].update(sha256=packs.sha256(b"[]"), size=2)

    rewritten(lab.target, edit)
    swap(lab.target, "image/settings.json", b"[]")
    with pytest.raises(RecordError, match="no settings of an image"):
        used(lab.target, elsewhere)


def test_a_damaged_layer_makes_no_image(lab: Lab, elsewhere: FakeEngine) -> None:
    swap(lab.target, "image/layer-2.tar.gz", packs.packed(LAYERS[1][:-1] + b"!"))
    with pytest.raises(RecordError, match=r"image/layer-2\.tar\.gz' has changed"):
        used(lab.target, elsewhere)
    assert elsewhere.images == {}


def test_no_room_for_it(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    lab.pack()

    def full(*given: Any, **more: Any) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(Pack, "write", full)
    with pytest.raises(EngineError, match="Make room, or set XDG_CACHE_HOME"):
        open_and_leave(lab.target)
    assert os.listdir(files.cache_directory("scratch")) == []


def test_opened_says_what_it_is(lab: Lab) -> None:
    assert Opened("/x", None).pack is None
