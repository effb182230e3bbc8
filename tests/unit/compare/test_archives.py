"""Archives by member; compressed files by what is in them."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import tarfile
import zipfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reprorun.compare.archives import compare
from reprorun.compare.registry import compare_contents
from reprorun.compare.values import Finding, Settings, Tolerance

from .rich_kit import SETTINGS, Damage, content, damages, judged

FILES = {"a.txt": b"loss 0.5\n", "d/b.bin": bytes(range(256)) * 40, "c": b""}
Files = dict[str, bytes]


def zipped(files: Files, *, compression: int = zipfile.ZIP_DEFLATED, year: int = 1999) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        for name, data in files.items():
            archive.writestr(zipfile.ZipInfo(name, (year, 1, 1, 0, 0, 0)), data, compression)
    return out.getvalue()


def tarred(
    files: Files, mode: str = "w:", *, mtime: int = 0, form: int = tarfile.PAX_FORMAT, **owner: Any
) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode=mode, format=form) as archive:  # type: ignore[call-overload]
        for name, data in files.items():
            info = tarfile.TarInfo(name)
            info.size, info.mtime = len(data), mtime
            info.uname = owner.get("uname", "")
            archive.addfile(info, io.BytesIO(data))
    return out.getvalue()


def entries(*infos: tarfile.TarInfo) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w:") as archive:
        for info in infos:
            archive.addfile(info, io.BytesIO(b"x" * info.size))
    return out.getvalue()


def link(name: str, target: str, kind: bytes = tarfile.SYMTYPE) -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, target
    return info


def judge(name: str, a: bytes, b: bytes, with_settings: Settings = SETTINGS) -> Finding:
    return compare_contents(content(name, a), content(name, b), with_settings)


WRITERS = {
    "zip": lambda files: zipped(files),
    "stored": lambda files: zipped(files, compression=zipfile.ZIP_STORED, year=2020),
    "lzma": lambda files: zipped(files, compression=zipfile.ZIP_LZMA),
    "tar": lambda files: tarred(files),
    "gnu": lambda files: tarred(files, mtime=9, uname="me", form=tarfile.GNU_FORMAT),
    "gz": lambda files: tarred(files, "w:gz"),
    "xz": lambda files: tarred(files, "w:xz"),
    "bz2": lambda files: tarred(files, "w:bz2"),
    "./": lambda files: tarred({f"./{name}": data for name, data in files.items()}),
}


@settings(deadline=None)
@given(
    st.permutations(list(FILES)),
    st.sampled_from(sorted(WRITERS)),
    st.sampled_from(sorted(WRITERS)),
)
def test_how_it_is_packed_is_aside(order: list[str], one: str, other: str) -> None:
    packed = WRITERS[one](FILES), WRITERS[other]({name: FILES[name] for name in order})
    found = judge("x.zip", *packed)
    assert found.verdict in ("equivalent", "identical")
    assert found.inner == ()


@settings(deadline=None)
@given(st.integers(0, 256 * 40 - 1), st.sampled_from(sorted(WRITERS)))
def test_any_changed_byte_is_found(index: int, writer: str) -> None:
    data = bytearray(FILES["d/b.bin"])
    data[index] ^= 1
    found = judge("x.zip", zipped(FILES), WRITERS[writer]({**FILES, "d/b.bin": bytes(data)}))
    assert found.verdict == "different"
    assert found.divergence is not None
    assert found.divergence.where == f"d/b.bin: byte {index}"


def test_missing_and_extra_members_both_ways() -> None:
    fewer = {name: data for name, data in FILES.items() if name != "c"}
    gone, new = (
        judge("x.tar", tarred(FILES), tarred(fewer)),
        judge("x.tar", tarred(fewer), tarred(FILES)),
    )
    assert (gone.verdict, [(each.path, each.finding.verdict) for each in gone.inner]) == (
        "different",
        [("c", "missing")],
    )
    assert [(each.path, each.finding.verdict) for each in new.inner] == [("c", "extra")]


def test_members_are_compared_by_their_format() -> None:
    near = {**FILES, "a.txt": b"loss 0.5001\n"}
    allowed = Settings(files=(("*.txt", Tolerance(atol=0.01)),))
    assert judge("x.zip", zipped(FILES), zipped(near), allowed).verdict == "within tolerance"
    whole = Settings(files=(("x.zip", Tolerance(atol=0.01)),))
    assert judge("x.zip", zipped(FILES), zipped(near), whole).verdict == "within tolerance"
    assert judge("x.zip", zipped(FILES), zipped(near)).verdict == "different"


def test_archives_in_archives() -> None:
    one = zipped({"in.tgz": tarred(FILES, "w:gz"), "in.zip": zipped(FILES)})
    other = zipped({"in.tgz": tarred(FILES, "w:gz", mtime=1), "in.zip": zipped(FILES, year=2001)})
    assert judge("x.zip", one, other).verdict == "equivalent"
    changed = zipped({"in.tgz": tarred({**FILES, "c": b"!"}, "w:gz"), "in.zip": zipped(FILES)})
    found = judge("x.zip", one, changed)
    assert found.divergence is not None
    assert found.divergence.where.startswith("in.tgz: c: ")
    assert judge("x.zip", one, other, Settings(depth=1)).verdict == "different"  # by bytes


@pytest.mark.parametrize("ending", ["gz", "xz", "bz2"])
def test_compressed_files(ending: str) -> None:
    pack: Any = {"gz": gzip.compress, "xz": lzma.compress, "bz2": bz2.compress}[ending]
    text = b"loss 0.5\n" * 1000
    apart = pack(text[:900]) + pack(text[900:])  # several streams are one file
    assert judge(f"x.txt.{ending}", pack(text), apart).verdict == "equivalent"
    found = judge(f"x.txt.{ending}", pack(text), pack(text[:-9] + b"loss 0.6\n"))
    assert found.divergence is not None
    assert found.divergence.where.startswith("line 1000")


def test_members_of_one_name_are_all_compared() -> None:
    with pytest.warns(UserWarning, match="Duplicate name"):
        one, other = (
            _twice(zipfile.ZIP_STORED, b"1", b"2"),
            _twice(zipfile.ZIP_STORED, b"3", b"2"),
        )
    assert judge("x.zip", one, other).verdict == "different"


def _twice(compression: int, first: bytes, second: bytes) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", compression) as archive:
        archive.writestr("a", first)
        archive.writestr("a", second)
    return out.getvalue()


def test_links_are_compared_and_not_followed() -> None:
    one, other = entries(link("l", "/etc/passwd")), entries(link("l", "/etc/hosts"))
    found = judge("x.tar", one, other)
    assert found.divergence is not None
    assert (found.divergence.original, found.divergence.now) == (
        "a link to /etc/passwd",
        "a link to /etc/hosts",
    )


def test_which_of_two_names_is_the_hard_link_is_aside() -> None:
    file = tarfile.TarInfo("a")
    file.size = 3
    again = tarfile.TarInfo("b")
    again.size = 3
    one = entries(file, link("b", "a", tarfile.LNKTYPE))
    other = entries(again, link("a", "b", tarfile.LNKTYPE))
    assert judge("x.tar", one, other).verdict == "equivalent"


# ---------------------------------------------------------------- bad input


@settings(max_examples=200, deadline=None)
@given(damages(), st.sampled_from(sorted(WRITERS)), st.booleans())
def test_damage_is_a_verdict(damage: Damage, writer: str, first: bool) -> None:
    good = WRITERS[writer](FILES)
    judged(compare, "x.tar", *((damage(good), good) if first else (good, damage(good))))


@pytest.mark.parametrize("name", ["../../evil", "/etc/evil", "a\nb", "\x1b[31m", "..\\evil", " "])
def test_hostile_names_are_only_names(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for pack in (zipped, tarred):
        found = judge("x.zip", pack({name: b"1"}), pack({name: b"2"}))
        assert [each.path for each in found.inner] == [name]
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["x.gz", "x.xz", "x.bz2", "x.zip"])
def test_a_bomb_is_not_unpacked(name: str) -> None:
    zeros = bytes(40 << 20)
    pack: Any = {
        "x.gz": gzip.compress,
        "x.xz": lzma.compress,
        "x.bz2": bz2.compress,
        "x.zip": lambda data: zipped({"a": data}),
    }[name]
    limited = Settings(largest=1 << 20)
    found = judge(name, pack(zeros), pack(zeros + b"1"), limited)
    assert found.verdict == "unknown"
    inner = found.inner[0].finding if found.inner else found
    assert "unpacks to more than 1,048,576 bytes" in inner.reason


def test_a_bomb_of_bombs_shares_one_limit() -> None:
    def bomb(last: bytes) -> bytes:
        inner = {f"{number}.zip": zipped({"a": bytes(1 << 20) + last}) for number in range(9)}
        return zipped(inner)

    found = judge("x.zip", bomb(b"1"), bomb(b"2"), Settings(largest=4 << 20))
    assert found.verdict == "different"  # as the first are
    verdicts = [each.finding.verdict for each in found.inner]
    assert verdicts == ["different"] * 3 + ["unknown"] * 6


def test_an_encrypted_member_is_unknown() -> None:
    one, other = bytearray(zipped({"a": b"1"})), bytearray(zipped({"a": b"2"}))
    for data in (one, other):
        data[6] |= 1
        at = data.index(b"PK\1\2")
        data[at + 8] |= 1
    found = judge("x.zip", bytes(one), bytes(other))
    assert found.verdict == "unknown"
    assert "encrypted" in found.inner[0].finding.reason


def test_a_damaged_header_is_not_the_end() -> None:
    good = bytearray(tarred({"a": b"1", "b": b"2"}))
    at = good.index(b"b\0", 1024)
    good[at + 150] ^= 1  # its checksum is wrong now, and all behind it would be left out
    changed = bytes(good).replace(b"2", b"3")
    found = judge("x.tar", bytes(good), changed)
    assert found.verdict == "different"


def test_a_crowd_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("reprorun.compare.members.MOST", 2)
    monkeypatch.setattr("reprorun.compare.zips.MOST", 2)
    for pack in (zipped, tarred):
        found = judge("x.zip", pack(FILES), pack({**FILES, "c": b"1"}))
        assert found.verdict == "unknown"
        assert "more than 2 members" in found.reason
