"""A tar whose headers are read strictly; tarfile only hands out the content.

tarfile itself takes a damaged header for the end, reads names and attributes of any length into
memory, follows chains of headers until the stack ends, and knows more kinds of members than a
repository has files.
"""

from __future__ import annotations

import tarfile
from collections.abc import Collection

from reprorun.errors import RecordError
from reprorun.launch_archive.tree import ENCODING, ArchiveLimits, NotRight, Tree, shown
from reprorun.launch_archive.xz import Unpacked

LARGEST_HEADER = 1 << 20  # bytes of a long name, or of pax attributes
PADDING = 1 << 20  # bytes of zeros after the last member; tar pads to 10 KiB by default

_BLOCK = tarfile.BLOCKSIZE
_LONG = {tarfile.GNUTYPE_LONGNAME: "path", tarfile.GNUTYPE_LONGLINK: "linkpath"}
_EXTENSIONS = frozenset({*_LONG, tarfile.XHDTYPE})
_ATTRIBUTES = frozenset({b"path", b"linkpath", b"size", b"mtime"})  # others make no difference


class GuardedTar(tarfile.TarFile):
    """Iterate over it once; each member has been checked when it comes.

    Raises:
        RecordError: from the iteration, and from reading a member.
    """

    def __init__(
        self, path: str, source: Unpacked, limits: ArchiveLimits, links_out: Collection[str] | None
    ) -> None:
        self._path = path
        self._source = source
        self._tree = Tree(limits, links_out)
        self._next_header = 0
        self._started = self._ended = False
        super().__init__(path, "r", source)  # type: ignore[arg-type] # it only seeks and reads
        self._started = True

    @property
    def links_out(self) -> tuple[str, ...]:
        """The links so far that lead out of the tree, as they may."""
        return tuple(sorted(self._tree.leaving))

    def next(self) -> tarfile.TarInfo | None:
        """The next member, checked; None at the end."""
        if not self._started or self._ended:  # tarfile asks for the first already on opening
            return None
        try:
            return self._next()
        except NotRight as error:
            raise RecordError(f"the launch archive {self._path} {error}.") from None

    def _next(self) -> tarfile.TarInfo | None:
        self._source.seek(self._next_header)
        header = self._header()
        if header is None:
            self._ended = True
            self._check_end()
            return None
        start = self._source.tell()
        member = self._tree.checked(header, start)
        member.offset_data = start
        self._next_header = start + member.size + -member.size % _BLOCK
        return member

    def _check_end(self) -> None:
        """Nothing but zeros may follow, and few of them."""
        if any(self._source.read(PADDING)) or self._source.read(1):
            raise NotRight("goes on after its end")
        self._tree.check_links()

    def _header(self) -> tarfile.TarInfo | None:
        """The header of the next member, with what extensions before it say; None at the end."""
        kinds: set[bytes] = set()
        found: dict[str, bytes] = {}
        while (header := self._block()) is not None and header.type in _EXTENSIONS:
            more = self._extension(header)
            if header.type in kinds or found.keys() & more.keys():
                raise NotRight("says twice what a member is called")
            kinds.add(header.type)
            found.update(more)
        if header is None and kinds:
            raise NotRight("is cut short")
        return header and _extended(header, found)

    def _block(self) -> tarfile.TarInfo | None:
        """A header as it stands; None for the zeros that end a tar."""
        block = self._source.read(_BLOCK)
        if len(block) < _BLOCK:
            raise NotRight("is no tar" if self._source.tell() < _BLOCK else "is cut short")
        if not any(block):
            return None
        try:
            return tarfile.TarInfo.frombuf(block, *ENCODING)
        except tarfile.HeaderError as error:
            what = "is no tar" if self._source.tell() == _BLOCK else "is a damaged tar"
            raise NotRight(f"{what} ({error})") from None

    def _extension(self, header: tarfile.TarInfo) -> dict[str, bytes]:
        """What a header says about the member after it."""
        if not 0 <= header.size <= LARGEST_HEADER:
            raise NotRight(f"has a header of {header.size} bytes")
        self._tree.spend(header.size)
        data = self._source.read(header.size)
        if len(data) < header.size:
            raise NotRight("is cut short")
        self._source.seek(self._source.tell() + -header.size % _BLOCK)
        if header.type == tarfile.XHDTYPE:
            return _attributes(data)
        name, _, rest = data.partition(b"\0")
        if any(rest):
            raise NotRight("has a name with a NUL in it")
        return {_LONG[header.type]: name}


def _attributes(data: bytes) -> dict[str, bytes]:
    """Attributes of a pax header, each `LENGTH NAME=VALUE` and a newline."""
    found: dict[str, bytes] = {}
    start = 0
    while start < len(data):
        length = data[start : start + 8].partition(b" ")[0]
        end = start + (int(length) if length.isdigit() else 0)
        name, equals, value = data[start + len(length) + 1 : end].partition(b"=")
        if end > len(data) or not equals or not value.endswith(b"\n"):
            raise NotRight("has a damaged pax header")
        if name.startswith(b"GNU.sparse."):
            raise NotRight("holds a sparse file, which no launch archive does")
        if name in _ATTRIBUTES:
            found[name.decode()] = value[:-1]
        start = end
    return found


def _extended(header: tarfile.TarInfo, found: dict[str, bytes]) -> tarfile.TarInfo:
    """A header with what extensions say in place of what it says itself."""
    if "path" in found:
        header.name = found["path"].decode(*ENCODING)
    if "linkpath" in found:
        header.linkname = found["linkpath"].decode(*ENCODING)
    try:
        if "size" in found:
            header.size = _number(found["size"])
        if "mtime" in found:
            header.mtime = _number(found["mtime"].partition(b".")[0])
    except ValueError:
        raise NotRight(f"holds {shown(header.name)} with a damaged size or date") from None
    return header


def _number(text: bytes) -> int:
    if not text.removeprefix(b"-").isdigit() or len(text) > 20:
        raise ValueError
    return int(text)
