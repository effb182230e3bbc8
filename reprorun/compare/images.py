"""Images by pixel, frame by frame; EXIF data, texts, times and the compression are aside."""

from __future__ import annotations

import io
import warnings
import zlib
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

from reprorun.compare.content import read_full
from reprorun.compare.isolated import compare_isolated
from reprorun.compare.numbers import Numbers
from reprorun.compare.rich import Budget, Missing, Refused, is_there, refused, without
from reprorun.compare.values import Content, Finding, Settings, Unreadable

LARGEST = 100_000_000  # pixels of a frame: it is unpacked in memory
_FORMATS = ("PNG", "JPEG", "GIF", "BMP", "TIFF", "WEBP", "PPM")  # none that runs a program
_STRIP = 1 << 20  # pixels that are looked at in one go
_SHOWN = 2048  # pixels of a side of an image of the difference
_PIXEL = 4  # bytes, as a frame is held


def compare(a: Content, b: Content, settings: Settings) -> Finding:
    """Compare two images by pixel."""
    for library, name in (("PIL", "pillow"), ("numpy", "numpy")):
        if not is_there(library):
            return without("image", name)
    return compare_isolated("images", a, b, settings)


def compare_here(a: Content, b: Content, settings: Settings) -> Finding:
    """The same in this process, which damaged files may crash."""
    numbers = Numbers(settings.tolerance_of(a.name))
    try:
        with ExitStack() as opened:
            one, other = (opened.enter_context(_image(content)) for content in (a, b))
            _compare_images(numbers, one, other, Budget(settings.largest))
    except Refused as error:
        return refused("image", error)
    found = numbers.finding("image", equal="all pixels are equal; metadata or compression differ")
    if found.verdict == "equivalent" and _is_deep(a) and not _same_samples(a, b):
        return refused("image", Refused("it has 16 bits a colour, and only 8 of them are unpacked"))
    return found


def _compare_images(numbers: Numbers, a: Any, b: Any, budget: Budget) -> None:
    """Compare all frames."""
    frames = getattr(a, "n_frames", 1), getattr(b, "n_frames", 1)
    if a.size != b.size:
        numbers.mismatch("the size", _size(a), _size(b))
        return
    if frames[0] != frames[1]:
        numbers.mismatch("the number of frames", str(frames[0]), str(frames[1]))
    for index in range(min(frames)):
        where = f"frame {index}, " if max(frames) > 1 else ""
        _compare_frames(numbers, _frame(a, index, budget), _frame(b, index, budget), where)


def _compare_frames(numbers: Numbers, a: Any, b: Any, where: str) -> None:
    if a.size != b.size:
        numbers.mismatch(f"{where}the size", _size(a), _size(b))
        return
    if a.mode != b.mode:
        numbers.mismatch(f"{where}the mode", a.mode, b.mode)
        return
    if where and a.info.get("duration") != b.info.get("duration"):
        durations = (str(frame.info.get("duration")) for frame in (a, b))
        numbers.mismatch(f"{where}the duration", *durations)
    bands = len(a.getbands())
    for top, one, other in _strips(a, b):
        numbers.array(
            one,
            other,
            lambda index, top=top: where + _pixel(index, top, a.width, bands),  # type: ignore[misc]
        )


def _strips(a: Any, b: Any) -> Iterator[tuple[int, Any, Any]]:
    """The frames in strips from the top: the first row, and both as arrays."""
    import numpy as np

    rows = max(1, _STRIP // max(a.width, 1))
    for top in range(0, a.height, rows):
        box = (0, top, a.width, min(top + rows, a.height))
        yield top, np.asarray(a.crop(box)), np.asarray(b.crop(box))


def _pixel(index: int, top: int, width: int, bands: int) -> str:
    row, rest = divmod(index, width * bands)
    column, band = divmod(rest, bands)
    colour = f", band {band}" if bands > 1 else ""
    return f"pixel ({column}, {top + row}){colour}"


def _size(image: Any) -> str:
    return f"{image.width} x {image.height}"


# ---------------------------------------------------------------- reading


@contextmanager
def _image(content: Content) -> Iterator[Any]:
    """An image, opened but not unpacked.

    Raises:
        Unreadable: it is none, or damaged.
        Refused: it is too large.
        Missing: the library isn't there.
    """
    try:
        from PIL import Image
    except ImportError as error:
        raise Missing("pillow") from error

    with (
        content.open() as stream,
        _damage_named(),
        Image.open(stream, formats=_FORMATS) as image,
    ):
        yield image


@contextmanager
def _damage_named() -> Iterator[None]:
    """Makes what pillow raises for wrong images an `Unreadable`."""
    from PIL import Image

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    except Image.DecompressionBombError as error:
        raise Refused(_too_many()) from error
    except (OSError, SyntaxError, ValueError, EOFError, zlib.error, OverflowError) as error:
        raise Unreadable(f"it is a damaged image: {error}"[:200]) from error
    except (TypeError, AttributeError, KeyError, IndexError, AssertionError, RuntimeError) as error:
        raise Unreadable(f"it is a damaged image ({type(error).__name__})") from error


def _too_many() -> str:
    return f"it has more than {LARGEST:,} pixels, which are not unpacked"


def _frame(image: Any, index: int, budget: Budget) -> Any:
    """One frame, unpacked; colours of a palette are put in."""
    image.seek(index)
    if image.width * image.height > LARGEST:
        raise Refused(_too_many())
    budget.take(image.width * image.height * _PIXEL)
    image.load()
    if image.mode in ("P", "PA"):
        return _with_info(image.convert("RGBA"), image)
    return image


def _with_info(frame: Any, image: Any) -> Any:
    frame.info = image.info
    return frame


# ---------------------------------------------------------------- 16 bits a colour, in PNG


def _header(content: Content) -> bytes:
    with content.open() as stream:
        return read_full(stream, 26)


def _is_deep(content: Content) -> bool:
    """Whether pillow drops half of each sample: 16 bits in a PNG with more than one band."""
    start = _header(content)
    return start.startswith(b"\x89PNG") and len(start) == 26 and start[24] == 16 and start[25] != 0


def _same_samples(a: Content, b: Content) -> bool:
    """Whether two PNG are equal before the samples are made of them: all bits, and the filters."""
    return _header(a)[16:] == _header(b)[16:] and _checksum(a) == _checksum(b)


def _checksum(content: Content) -> bytes:
    from hashlib import sha256

    digest = sha256()
    inflate = zlib.decompressobj()
    with content.open() as stream:
        stream.seek(8)
        while len(head := read_full(stream, 8)) == 8:
            data = read_full(stream, int.from_bytes(head[:4], "big"))
            if head[4:] == b"IDAT":
                while data:
                    digest.update(inflate.decompress(data, 1 << 20))
                    data = inflate.unconsumed_tail
            stream.seek(4, io.SEEK_CUR)
    return digest.digest()


# ---------------------------------------------------------------- for the report


def difference_image(a: Content, b: Content) -> bytes:
    """A picture of where two images differ: the original faint, what differs in red.

    Args:
        a: the original.
        b: the other; where one is larger it differs.

    Returns:
        A PNG of the first frame that differs, no larger than is looked at on a screen.

    Raises:
        Unreadable: one is no image, or damaged.
        Refused: one is too large.
        Missing: a library isn't there.
    """
    with ExitStack() as opened:
        one, other = (opened.enter_context(_image(content)) for content in (a, b))
        frames = _differing_frames(one, other)
        return _as_png(_painted(*frames))


def _differing_frames(a: Any, b: Any) -> tuple[Any, Any]:
    """The first pair of frames that differ, as colours; the first pair where none does."""
    budget = Budget(1 << 40)
    for index in range(min(getattr(a, "n_frames", 1), getattr(b, "n_frames", 1))):
        frames = _frame(a, index, budget).convert("RGBA"), _frame(b, index, budget).convert("RGBA")
        if frames[0].size != frames[1].size or frames[0].tobytes() != frames[1].tobytes():
            return frames
    return _frame(a, 0, budget).convert("RGBA"), _frame(b, 0, budget).convert("RGBA")


def _painted(a: Any, b: Any) -> Any:
    from PIL import Image, ImageChops

    size = max(a.width, b.width), max(a.height, b.height)
    one, other = _on_canvas(a, size), _on_canvas(b, size)
    apart = ImageChops.difference(one, other)
    strongest = apart.getchannel(0)
    for band in range(1, 4):
        strongest = ImageChops.lighter(strongest, apart.getchannel(band))
    most = strongest.getextrema()[1] or 1
    strength = strongest.point(lambda value: 0 if not value else 96 + value * 159 // most)
    faint = Image.blend(one.convert("L").convert("RGB"), Image.new("RGB", size, "white"), 0.75)
    painted = Image.composite(Image.new("RGB", size, (214, 0, 28)), faint, strength)
    painted.thumbnail((_SHOWN, _SHOWN))
    return painted


def _on_canvas(image: Any, size: tuple[int, int]) -> Any:
    from PIL import Image

    canvas = Image.new("RGBA", size, (0, 0, 0, 0))
    canvas.paste(image, (0, 0))
    return canvas


def _as_png(image: Any) -> bytes:
    file = io.BytesIO()
    image.save(file, "PNG")
    return file.getvalue()
