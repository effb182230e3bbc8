"""blame: why does a record not come out the same? Found by running it again, changed and unchanged.

nothing varied, several times -> they differ: what has to be held still for them to agree?
                              -> they agree with the original: which factors make a difference?
                              -> they agree, but not with the original: what has changed since?
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property, partial
from typing import Generic, Protocol, TypeVar

import msgspec

from reprorun.model import Variation
from reprorun.vary.applying import factor_of
from reprorun.vary.factor import Situation
from reprorun.vary.search import always, minimal, mostly
from reprorun.vary.steady import reason, steadying
from reprorun.vary.values import Blame, Cause, Kind

Variations = tuple[Variation, ...]
NOTHING: Variations = ()
_UNPLUGGED = Variation(factor="network", value="none")


R = TypeVar("R", bound="Rerun")


class Rerun(Protocol):
    """A re-run that has ended, kept as long as it is compared with others."""

    def same(self: R, other: R | None) -> bool:
        """Whether its outputs are the same as another's; None: as the original's."""
        ...

    def ended_as_original(self) -> bool:
        """Whether it came to the same end, with the same exit code."""
        ...

    def forget(self) -> None:
        """Told when it is not needed any more."""
        ...


Tell = Callable[[str], None]


def find_blame(
    run: Callable[[Variations], R],
    situation: Situation,
    varied: Variations,
    confirm: int,
    tell: Tell,
    circumstances: tuple[str, ...] = (),
) -> Blame:
    """Find out why a record does not come out the same.

    Args:
        run: runs it again, with circumstances varied.
        situation: the record, and where it is run.
        varied: with which it did not; empty where nothing was varied.
        confirm: how often what is found out is tried again, so that it is not by chance.
        tell: told what is done.
        circumstances: in which else the re-run differs from the original, in words.

    Raises:
        ReprorunError: it could not be run again.
    """
    search = _Search(run, situation, confirm, tell)
    try:
        tell(f"nothing varied, up to {confirm} times")
        if not search.stable(NOTHING, confirm):
            return search.nondeterminism()
        if not search.baseline.same(None):
            return search.changed(circumstances)
        return search.factors(varied)
    finally:
        search.baseline.forget()


class _Search(Generic[R]):
    """Counts the runs, and asks questions of them."""

    def __init__(
        self, run: Callable[[Variations], R], situation: Situation, confirm: int, tell: Tell
    ) -> None:
        self._run = run
        self._situation = situation
        self._confirm = confirm
        self._tell = tell
        self._runs = 0

    # ------------------------------------------------------------ questions

    @cached_property
    def baseline(self) -> R:
        """One re-run with nothing varied."""
        return self._start(NOTHING)

    def _start(self, variations: Variations) -> R:
        self._runs += 1
        return self._run(variations)

    def _same(self, variations: Variations, as_what: R | None) -> bool:
        """Whether one more run comes out as another did, or as the original."""
        done = self._start(variations)
        try:
            return done.same(as_what)
        finally:
            done.forget()

    def stable(self, variations: Variations, times: int) -> bool:
        """Whether so many runs, varied so, agree among each other."""
        if variations == NOTHING:
            return self._all_as(self.baseline, variations, times - 1)
        first = self._start(variations)
        try:
            # what fails at once agrees with itself, but says nothing
            return first.ended_as_original() and self._all_as(first, variations, times - 1)
        finally:
            first.forget()

    def _all_as(self, first: R, variations: Variations, times: int) -> bool:
        return always(lambda: self._same(variations, first), times)

    def differs(self, variations: Variations) -> bool:
        """Whether runs that are so varied differ from the original, most of the time."""
        self._tell("varied: " + _listed(variations))
        return mostly(lambda: not self._same(variations, None), self._confirm | 1)

    # ------------------------------------------------------------ from run to run

    def nondeterminism(self) -> Blame:
        """What has to be held still for the runs to agree."""
        everything = steadying(self._situation.record)
        self._tell("it differs from run to run")
        if not self._agrees(everything, self._confirm):
            return self._of_network() or self._blame("unknown", notes=(_NOTHING_HELPS,))
        for times in (2, self._confirm, 2 * self._confirm):  # what differs seldom takes more
            found = minimal(everything, partial(self._agrees, times=times))
            if self._agrees(found, 2 * self._confirm):
                return self._of_held(found)
        return self._blame("unknown", notes=(_BY_CHANCE,))

    def _agrees(self, held: Variations, times: int) -> bool:
        self._tell("held still: " + _listed(held))
        return self.stable(held, times)

    def _of_held(self, found: Variations) -> Blame:
        causes = tuple(self._held(each) for each in found)
        return self._blame("nondeterministic", causes, together=len(causes) > 1)

    def _held(self, variation: Variation) -> Cause:
        factor = factor_of(variation)
        return Cause(
            factor=factor.name,
            words=reason(factor),
            original="another each time",
            now=f"the same with {factor.name}={variation.value}",
            remedy=factor.remedy,
        )

    def _of_network(self) -> Blame | None:
        """What comes from outside can't be held still. Does it take anything from there?"""
        if self._situation.record.network == "none":
            return None
        self._tell("without the network")
        done = self._start((_UNPLUGGED,))
        goes_without = done.ended_as_original()
        done.forget()
        if goes_without:
            return None
        factor = factor_of(_UNPLUGGED)
        cause = Cause(
            factor="network",
            words="what it takes from the network",
            original="as it was then",
            now="as it is now",
            remedy=factor.remedy,
        )
        return self._blame("nondeterministic", (cause,))

    # ------------------------------------------------------------ since the original

    def changed(self, circumstances: tuple[str, ...]) -> Blame:
        """The same each time, but not as the original."""
        clock = next(v for v in steadying(self._situation.record) if v.factor == "clock")
        self._tell("with the clock of the original")
        if always(lambda: self._same((clock,), None), self._confirm):
            factor = factor_of(clock)
            cause = Cause(
                factor="clock",
                words="the date",
                original=factor.original(self._situation)[:10],
                now=self._situation.today,
                remedy=factor.remedy,
            )
            return self._blame("changed", (cause,))
        of_network = self._of_network()
        if of_network:
            return msgspec.structs.replace(of_network, kind="changed")
        return self._blame("changed", notes=circumstances or (_UNKNOWN_CHANGE,))

    # ------------------------------------------------------------ factors

    def factors(self, varied: Variations) -> Blame:
        """The fewest variations that make a difference; then the same among the others."""
        found: list[Variations] = []
        left = varied
        while left and self.differs(left):
            least = minimal(left, self.differs)
            if len(least) > 1:  # which is rare, and may be chance
                least = minimal(least, self.differs)
            found.append(least)
            left = tuple(variation for variation in left if variation not in least)
        if not found:
            return self._blame("unknown", notes=(_NOT_AGAIN,))
        causes = tuple(self._varied(each) for least in found for each in least)
        together = len(found) == 1 and len(causes) > 1
        notes = tuple(
            f"only together: {_listed(least)}" for least in found if len(least) > 1 < len(found)
        )
        return self._blame("factor", causes, together=together, notes=notes)

    def _varied(self, variation: Variation) -> Cause:
        factor = factor_of(variation)
        return Cause(
            factor=factor.name,
            words=factor.words,
            original=factor.original(self._situation),
            now=variation.value,
            remedy=factor.remedy,
        )

    def _blame(
        self,
        kind: Kind,
        causes: tuple[Cause, ...] = (),
        *,
        together: bool = False,
        notes: tuple[str, ...] = (),
    ) -> Blame:
        return Blame(kind=kind, causes=causes, together=together, runs=self._runs, notes=notes)


def _listed(variations: Variations) -> str:
    return ", ".join(f"{each.factor}={each.value}" for each in variations) or "nothing"


_NOTHING_HELPS = (
    "it differs from run to run also with random numbers seeded, one thread, a fixed clock, hash "
    "seed and order of directories: perhaps several processes race, or a library has its own "
    "source of randomness"
)
_BY_CHANCE = (
    "it differs so seldom that what makes it come out the same can't be told from chance; a larger "
    "--confirm helps"
)
_UNKNOWN_CHANGE = (
    "it comes out the same each time now, but not as the original, and no difference between the "
    "two is on record: perhaps the original differs from run to run, but seldom"
)
_NOT_AGAIN = (
    "with the same circumstances varied it mostly came out the same when it was tried again: it "
    "differs, but seldom; --repeat shows how often"
)
