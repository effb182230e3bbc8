"""GPUs for re-runs side by side: each has its own, and waits while there are not enough."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from functools import cached_property

from reprorun.model import Gpus
from reprorun.sweeps.values import Ask
from reprorun.workflow.gather import Connect
from reprorun.workflow.report import Reporter
from reprorun.workflow.resources import machine_of

_EVERY = ("every GPU",)  # in place of numbers, where they are not known


class SharedGpus:
    """The GPUs of the engine's machine, each lent to one re-run at a time.

    Args:
        connect: reaches the engine, which is asked when the first re-run wants some.
    """

    def __init__(self, connect: Connect) -> None:
        self._connect = connect
        self._given_back = threading.Condition()
        self._lent: set[str] = set()
        self._interrupted = False

    @contextmanager
    def lent(self, asked: Gpus, report: Reporter) -> Iterator[tuple[str, ...]]:
        """Have what is asked for, and nobody else any of it, while the block lasts.

        What is not a number of GPUs that are known to be there has the machine to itself: the
        engine gives what there is, or says that there are not as many.

        Args:
            asked: for a re-run.
            report: told when it has to be waited for.

        Yields:
            The very GPUs, where a number of them is asked for.

        Raises:
            EngineError: the engine does not answer.
            KeyboardInterrupt: the re-run that it was waiting for was interrupted.
        """
        if asked.kind == "none":
            yield ()
            return
        taken = self._take(asked, report)
        try:
            yield taken if self._is_number(asked) else ()
        except KeyboardInterrupt:
            self._interrupted = True
            raise
        finally:
            with self._given_back:
                self._lent.difference_update(taken)
                self._given_back.notify_all()

    def _take(self, asked: Gpus, report: Reporter) -> tuple[str, ...]:
        with self._given_back:
            while self._lent.intersection(chosen := self._chosen(asked)):
                report.progress("waiting for GPUs")
                self._given_back.wait()
                if self._interrupted:
                    raise KeyboardInterrupt
            self._lent.update(chosen)
            return chosen

    def _chosen(self, asked: Gpus) -> tuple[str, ...]:
        """What it is to have; some of it may be lent."""
        if self._is_number(asked):
            return tuple(sorted(self._known, key=self._lent.__contains__)[: asked.count])
        named = asked.kind == "device" and set(asked.devices) <= set(self._known)
        return asked.devices if named else self._known or _EVERY

    def _is_number(self, asked: Gpus) -> bool:
        return asked.kind == "count" and asked.count <= len(self._known)

    @cached_property
    def _known(self) -> tuple[str, ...]:
        """All that there are, by number; empty where the engine does not say."""
        with closing(self._connect()) as engine:
            return machine_of(engine.info(), Ask()).gpus
