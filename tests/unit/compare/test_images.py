"""Images by pixel."""

from __future__ import annotations

import io
import os
import signal
import struct
import zlib
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from reprorun.compare import images, isolated
from reprorun.compare.registry import compare_contents
from reprorun.compare.values import Finding, Settings, Tolerance, Unreadable

from .rich_kit import SETTINGS, Damage, content, damages, judged, kept_away

PIXELS = np.random.default_rng(0).integers(0, 200, (9, 12, 3), dtype=np.uint8)


def encoded(pixels: Any = PIXELS, form: str = "PNG", **more: Any) -> bytes:
    out = io.BytesIO()
    Image.fromarray(pixels).save(out, form, **more)
    return out.getvalue()


def changed(row: int, column: int, band: int, by: int = 1) -> Any:
    pixels = PIXELS.copy()
    pixels[row, column, band] += by
    return pixels


def judge(a: bytes, b: bytes, with_settings: Settings = SETTINGS) -> Finding:
    return images.compare(content("p.png", a), content("p.png", b), with_settings)


def with_text() -> PngInfo:
    info = PngInfo()
    info.add_text("Creation Time", "yesterday")
    return info


@pytest.mark.parametrize(
    "other",
    [
        encoded(compress_level=0),
        encoded(pnginfo=with_text()),
        encoded(dpi=(300, 300)),
        encoded(form="BMP"),
        encoded(form="TIFF", compression="tiff_lzw"),
        encoded(form="WEBP", lossless=True),
        encoded(form="PPM"),
    ],
    ids=["level", "text", "dpi", "bmp", "tiff", "webp", "ppm"],
)
def test_the_same_pixels_in_another_encoding_are_equivalent(other: bytes) -> None:
    assert judge(encoded(), other).verdict == "equivalent"


@settings(deadline=None)
@given(st.integers(0, 8), st.integers(0, 11), st.integers(0, 2))
def test_any_changed_pixel_is_found(row: int, column: int, band: int) -> None:
    found = judge(encoded(), encoded(changed(row, column, band), compress_level=1))
    assert found.verdict == "different"
    assert found.divergence is not None
    assert found.divergence.where == f"pixel ({column}, {row}), band {band}"
    assert int(found.divergence.now) == int(found.divergence.original) + 1


def test_tolerance() -> None:
    allowed = Settings(tolerance=Tolerance(atol=2))
    assert judge(encoded(), encoded(changed(1, 2, 0, 2)), allowed).verdict == "within tolerance"
    assert judge(encoded(), encoded(changed(1, 2, 0, 3)), allowed).verdict == "different"


@pytest.mark.parametrize(
    ("other", "where"),
    [
        (encoded(PIXELS[:8]), "the size"),
        (encoded(PIXELS[:, :, 0]), "the mode"),
        (encoded(PIXELS[:, :, 0].astype(np.uint16)), "the mode"),
    ],
    ids=["size", "grey", "16 bits"],
)
def test_size_and_mode(other: bytes, where: str) -> None:
    found = judge(encoded(), other)
    assert found.verdict == "different"
    assert found.divergence is not None
    assert found.divergence.where == where


def animated(*frames: Any, **more: Any) -> bytes:
    out = io.BytesIO()
    first, *rest = map(Image.fromarray, frames)
    first.save(out, "WEBP", save_all=True, append_images=rest, lossless=True, **more)
    return out.getvalue()


def test_frames() -> None:
    one = animated(PIXELS, changed(1, 1, 1), duration=50)
    assert judge(one, animated(PIXELS, changed(1, 1, 1), duration=50, method=0)).verdict in (
        "equivalent",
        "identical",
    )
    found = judge(one, animated(PIXELS, changed(2, 3, 1), duration=50))
    assert found.divergence is not None
    assert found.divergence.where.startswith("frame 1, pixel (1, 1)")
    fewer = judge(one, animated(PIXELS, changed(1, 1, 1), changed(5, 5, 2), duration=50))
    assert fewer.divergence is not None
    assert fewer.divergence.where == "the number of frames"
    slower = judge(one, animated(PIXELS, changed(1, 1, 1), duration=90))
    assert slower.verdict == "different"


def deep(samples: Any, level: int = 6) -> bytes:
    """A PNG with 16 bits a colour, which pillow can't write."""
    height, width, _ = samples.shape
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in samples)

    def chunk(kind: bytes, data: bytes) -> bytes:
        return (
            struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        )

    header = struct.pack(">2I5B", width, height, 16, 2, 0, 0, 0)
    parts = ((b"IHDR", header), (b"IDAT", zlib.compress(rows, level)), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunk(*part) for part in parts)


def test_bits_that_the_library_drops_are_no_pass() -> None:
    samples = np.full((2, 2, 3), 0x1234, dtype=np.uint16)
    other = samples.copy()
    other[1, 1, 2] += 1
    assert judge(deep(samples), deep(samples, level=0)).verdict == "equivalent"
    found = judge(deep(samples), deep(other))
    assert found.verdict == "unknown"
    assert "16 bits" in found.reason


# ---------------------------------------------------------------- bad input


@settings(max_examples=120, deadline=None)
@given(damages(), st.sampled_from(("PNG", "JPEG", "GIF", "BMP", "TIFF", "WEBP", "PPM")))
def test_damage_is_a_verdict(damage: Damage, form: str) -> None:
    good = encoded(form=form)
    judged(images.compare_here, "p.png", damage(good), good)


def test_a_bomb_is_not_unpacked() -> None:
    header = struct.pack(">2I5B", 60_000, 60_000, 8, 0, 0, 0, 0)
    chunk = (
        struct.pack(">I", 13) + b"IHDR" + header + struct.pack(">I", zlib.crc32(b"IHDR" + header))
    )
    good = encoded()
    bombs = [b"\x89PNG\r\n\x1a\n" + chunk + good[33:] + tail for tail in (b"", b"x")]
    found = judge(*bombs)
    assert found.verdict == "unknown"
    assert "pixels" in found.reason
    below = struct.pack(">2I5B", 12_000, 12_000, 8, 0, 0, 0, 0)  # what pillow itself would take
    chunk = struct.pack(">I", 13) + b"IHDR" + below + struct.pack(">I", zlib.crc32(b"IHDR" + below))
    bombs = [b"\x89PNG\r\n\x1a\n" + chunk + good[33:] + tail for tail in (b"", b"x")]
    assert "100,000,000 pixels" in judge(*bombs).reason


def test_formats_that_run_programs_are_not_opened() -> None:
    rare = encoded(form="PCX")  # pillow would read it
    with pytest.raises(Unreadable):
        images.compare_here(content("p", rare), content("p", encoded()), SETTINGS)
    script = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n(x) run showpage\n"
    with pytest.raises(Unreadable):
        judge(script, script + b" ")


@pytest.mark.parametrize("library", ["PIL", "numpy"])
def test_without_a_library_it_is_not_told(library: str, monkeypatch: pytest.MonkeyPatch) -> None:
    one, other = content("p.png", encoded()), content("p.png", encoded(dpi=(9, 9)))
    kept_away(monkeypatch, library)
    found = compare_contents(one, other, SETTINGS)
    assert found.verdict == "unknown"
    assert "pip install 'reprorun[compare]'" in found.reason
    assert {"PIL": "pillow"}.get(library, library) in found.reason


# ---------------------------------------------------------------- the child, and the difference


def test_a_crash_of_the_library_is_a_verdict() -> None:
    assert judge(encoded(), encoded(dpi=(9, 9))).verdict == "equivalent"
    child = isolated._child._process
    assert child is not None
    os.kill(child.pid, signal.SIGSEGV)
    child.wait()
    with pytest.raises(Unreadable, match="crashed"):
        judge(encoded(), encoded(dpi=(9, 9)))
    assert judge(encoded(), encoded(dpi=(9, 9))).verdict == "equivalent"


def test_the_child_has_bounds(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(isolated, "_SECONDS", -1)
    large = np.zeros((3000, 3000, 3), np.uint8)  # so that no answer is there when time is up
    with pytest.raises(Unreadable, match="crashed"):
        judge(encoded(large), encoded(large, dpi=(9, 9)))
    assert isolated._child._process is None


def test_an_image_of_the_difference() -> None:
    other = changed(4, 5, 1, 50)
    data = images.difference_image(content("a", encoded()), content("b", encoded(other)))
    with Image.open(io.BytesIO(data)) as image:
        painted = np.asarray(image.convert("RGB")).astype(int)
    red = (painted[:, :, 0] - painted[:, :, 1]) > 60
    assert np.argwhere(red).tolist() == [[4, 5]]
    assert painted.shape == PIXELS.shape


def test_an_image_of_the_difference_in_size() -> None:
    data = images.difference_image(content("a", encoded()), content("b", encoded(PIXELS[:5])))
    with Image.open(io.BytesIO(data)) as image:
        painted = np.asarray(image.convert("RGB")).astype(int)
    red = (painted[:, :, 0] - painted[:, :, 1]) > 60
    assert sorted(set(np.argwhere(red)[:, 0])) == [5, 6, 7, 8]
