"""Connecting a container's streams with ours: a terminal with all it can do, or files and pipes."""

from __future__ import annotations

import errno
import os
import select
import signal
import termios
import threading
import tty
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from types import FrameType

from reprorun.engine.protocol import Conversation
from reprorun.errors import EngineError
from reprorun.model import Value

PIECE = 1 << 16  # bytes that are read at once
PATIENCE = 5.0  # seconds for the thread that reads our input to notice that it is over

_RESIZED, _OVER = b"r", b"q"
Resize = Callable[[int, int], None]
"""Tells the container's terminal its rows and columns."""


class Streams(Value, frozen=True, kw_only=True):
    """File descriptors of ours."""

    stdin: int = 0
    stdout: int = 1
    stderr: int = 2

    @property
    def terminal(self) -> bool:
        """Whether a human is at both ends."""
        return os.isatty(self.stdin) and os.isatty(self.stdout)


def connect_streams(
    conversation: Conversation, streams: Streams, resize: Resize | None = None
) -> None:
    """Hand on input and output until the container has exited.

    Args:
        conversation: with a container that has been started.
        streams: ours. A terminal is in its raw mode meanwhile, so that each key goes through, and
            is as it was afterwards, whatever happens.
        resize: given where the container has a terminal, which ours is then.

    Raises:
        EngineError: the engine stopped answering.
        OSError: nobody takes the output any more.
        KeyboardInterrupt: the terminal has been hung up.
    """
    hung_up = threading.Event()
    with (
        _raw(streams.stdin, resize),
        _typing(conversation, streams.stdin, resize, hung_up) as waker,
        _told_of_resizing(waker, resize),
    ):
        try:
            for stream, data in conversation:
                _write(streams.stderr if stream == "stderr" else streams.stdout, data)
        except OSError as error:
            if resize is None or error.errno != errno.EIO:
                raise
            hung_up.set()
    if hung_up.is_set():
        raise KeyboardInterrupt


def _write(descriptor: int, data: bytes) -> None:
    while data:
        data = data[os.write(descriptor, data) :]


# ---------------------------------------------------------------- input, in a thread of its own


@contextmanager
def _typing(
    conversation: Conversation, stdin: int, resize: Resize | None, hung_up: threading.Event
) -> Iterator[int]:
    """Input is handed on in the block. Gives what to write to in order to wake who does it."""
    wake, waker = os.pipe()

    def pass_input() -> None:
        with suppress(EngineError):  # the container has exited, or reading from it says why
            if resize is None:
                _pass_file(conversation, stdin, wake)
            elif not _pass_terminal(conversation, stdin, wake, resize):
                hung_up.set()
                conversation.close()

    typist = threading.Thread(target=pass_input, daemon=True)
    typist.start()
    try:
        yield waker
    finally:
        conversation.close()
        os.write(waker, _OVER)
        typist.join(PATIENCE)
        os.close(wake)
        os.close(waker)


def _pass_file(conversation: Conversation, stdin: int, wake: int) -> None:
    """Hand on a file or pipe to its end."""
    while data := _next(stdin, wake):
        conversation.send(data)
    if data is not None:
        conversation.send_end()


def _pass_terminal(conversation: Conversation, stdin: int, wake: int, resize: Resize) -> bool:
    """Hand on what is typed, and how large the terminal is. False when it has been hung up."""
    while True:
        _tell_size(stdin, resize)
        while data := _next(stdin, wake):
            conversation.send(data)
        if data is not None:
            return False
        if _OVER in os.read(wake, PIECE):
            return True


def _next(stdin: int, wake: int) -> bytes | None:
    """What is typed next, empty at the end; None when something else happens."""
    try:
        ready, _, _ = select.select([stdin, wake], [], [])
        return None if wake in ready else os.read(stdin, PIECE)
    except OSError:  # it is closed, or a terminal that has been hung up: nothing more will come
        return b""


def _tell_size(stdin: int, resize: Resize) -> None:
    with suppress(OSError):  # it has been hung up, as reading from it will tell
        columns, rows = os.get_terminal_size(stdin)
        if rows and columns:  # else it has none
            resize(rows, columns)


# ---------------------------------------------------------------- the terminal


@contextmanager
def _raw(stdin: int, resize: Resize | None) -> Iterator[None]:
    """Let keys through as they are, Ctrl-C too: the terminal in the container heeds them."""
    if resize is None:
        yield
        return
    before = termios.tcgetattr(stdin)
    tty.setraw(stdin, termios.TCSADRAIN)
    try:
        yield
    finally:
        with suppress(termios.error):  # it has been hung up
            termios.tcsetattr(stdin, termios.TCSADRAIN, before)


@contextmanager
def _told_of_resizing(waker: int, resize: Resize | None) -> Iterator[None]:
    """Wake the thread that may talk to the engine. Only a main thread can ask for signals."""
    if resize is None or threading.current_thread() is not threading.main_thread():
        yield
        return

    def on_signal(number: int, frame: FrameType | None) -> None:
        os.write(waker, _RESIZED)

    before = signal.signal(signal.SIGWINCH, on_signal)
    try:
        yield
    finally:
        signal.signal(signal.SIGWINCH, before)
