"""The conformance kit: all checks, one after the other, on one framer."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

from framestream.framer import ReadCondition
from framestream.testing._case import Case, Examples, Malformed, SlowFrame
from framestream.testing._checks_answers import (
    check_answers,
    check_final,
    check_moving_window,
    check_settled,
    check_size,
)
from framestream.testing._checks_cost import (
    check_declared_sizes,
    check_linear_cost,
    check_many_frames,
    check_resume,
)
from framestream.testing._checks_decoder import (
    check_decoder,
    check_incomplete,
    check_malformed,
    check_spoilt_bytes,
    check_truncation,
)
from framestream.testing._checks_frames import check_round_trip, check_spec_string
from framestream.testing._checks_limits import check_limits
from framestream.testing._checks_streams import (
    check_chunking,
    check_examples,
    check_split,
)
from framestream.testing._checks_value import check_purity, check_sharing, check_value
from framestream.testing._failure import ConformanceError, describe_framer

# What is the cause of other failures comes first, so that the first message is the best one.
_CHECKS: tuple[Callable[[Case], str | None], ...] = (
    check_answers,
    check_purity,
    check_value,
    check_moving_window,
    check_size,
    check_final,
    check_chunking,
    check_sharing,
    check_examples,
    check_settled,
    check_split,
    check_round_trip,
    check_resume,
    check_linear_cost,
    check_many_frames,
    check_declared_sizes,
    check_decoder,
    check_truncation,
    check_malformed,
    check_incomplete,
    check_spoilt_bytes,
    check_limits,
    check_spec_string,
)


@dataclass(frozen=True)
class Check:
    """One promise that a framer is held to.

    Attributes:
        name: what it is called in messages, such as ``"linear-cost"``.
        promise: the promise, one sentence.
    """

    name: str
    promise: str
    _check: Callable[[Case], str | None] = field(repr=False)
    _case: Case = field(repr=False)

    def run(self) -> str | None:
        """Try the promise. Return why it could not be tried, or None if it is kept.

        Raises:
            ConformanceError: it is broken.
        """
        try:
            return self._check(self._case)
        except ConformanceError as error:
            error.check = self.name
            error.framer = describe_framer(self._case.framer)
            raise


@dataclass
class Report:
    """What `check_framer` did.

    Attributes:
        framer: the framer, as its spec string.
        kept: names of the checks that passed.
        untried: names of the checks that could not be tried, with the reason.
    """

    framer: str
    kept: list[str] = field(default_factory=list)
    untried: dict[str, str] = field(default_factory=dict)

    def __str__(self) -> str:
        lines = [f"{self.framer}: {len(self.kept)} checks passed"]
        lines += [f"  not tried: {name} ({reason})" for name, reason in self.untried.items()]
        return "\n".join(lines)


def conformance_checks(
    framer: ReadCondition[Any],
    *,
    examples: Examples = (),
    malformed: Malformed = (),
    incomplete: Iterable[bytes] = (),
    slow_frame: SlowFrame | None = None,
    pieces: bool = False,
    seed: int = 0,
) -> list[Check]:
    """Return the checks that `check_framer` runs, to be run one by one, such as by a parametrised test.

    The arguments are those of `check_framer`.
    """
    case = Case(
        framer,
        examples=examples,
        malformed=malformed,
        incomplete=incomplete,
        slow_frame=slow_frame,
        pieces=pieces,
        seed=seed,
    )
    return [Check(_name_of(check), _promise_of(check), check, case) for check in _CHECKS]


def check_framer(
    framer: ReadCondition[Any],
    *,
    examples: Examples = (),
    malformed: Malformed = (),
    incomplete: Iterable[bytes] = (),
    slow_frame: SlowFrame | None = None,
    pieces: bool = False,
    seed: int = 0,
) -> Report:
    r"""Hold a framer to every promise of the contract; a plain function, for any test runner::

        check_framer(
            Delimiter(b"\n"),
            examples={b"a\nbc\n": [b"a", b"bc"]},
            incomplete=[b"abc"],
            slow_frame=lambda size: b"x" * size + b"\n",
        )

    Args:
        framer: a read condition or framer.
        examples: streams, each with the list of frames that are in it: a mapping, or pairs.
        malformed: streams that must raise `FramingError` or `PayloadError`; a mapping to, or pairs with,
            a text that the error must contain.
        incomplete: streams that end inside a frame.
        slow_frame: a function that makes the bytes of one frame of about so many bytes, to count the cost
            with; preferably a frame that is hard to search, full of beginnings of delimiters. Or one long
            frame. If it is left out, frames are grown from the examples, if that succeeds.
        pieces: the frames are whatever has arrived, as with `Available`; what depends on the chunks by
            nature is not checked.
        seed: for everything random. The same seed tries the same bytes.

    Returns:
        A report of what was checked and what could not be, because there was nothing to check it with.

    Raises:
        ConformanceError: the framer breaks a promise; the message names the defect.
    """
    checks = conformance_checks(
        framer,
        examples=examples,
        malformed=malformed,
        incomplete=incomplete,
        slow_frame=slow_frame,
        pieces=pieces,
        seed=seed,
    )
    report = Report(describe_framer(framer))
    for check in checks:
        reason = check.run()
        if reason is None:
            report.kept.append(check.name)
        else:
            report.untried[check.name] = reason
    return report


def _name_of(check: Callable[[Case], str | None]) -> str:
    return check.__name__.removeprefix("check_").replace("_", "-")


def _promise_of(check: Callable[[Case], str | None]) -> str:
    return (check.__doc__ or "").strip().splitlines()[0]
