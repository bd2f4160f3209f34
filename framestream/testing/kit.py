"""The conformance kit: all checks, one after the other, on one framer."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, TypeAlias, Unpack

from framestream.framer import ReadCondition
from framestream.testing import answers, cost, streams
from framestream.testing.contract import Untried, describe_framer, under
from framestream.testing.suite import Arguments, Suite

Function: TypeAlias = Callable[[Suite], None]

# A check for the cause of other failures comes first, so that the first message is the best one. What is allocated for
# a declared size makes every other check slow.
# fmt: off
_CHECKS: tuple[Function, ...] = (
    answers.check_answers, answers.check_purity, answers.check_value, cost.check_declared_sizes, answers.check_final,
    streams.check_examples, streams.check_split, streams.check_chunking, streams.check_find_start,
    cost.check_start_cost, answers.check_round_trip, answers.check_foreign_frames, cost.check_resume,
    cost.check_linear_cost, cost.check_memory, cost.check_many_frames, cost.check_many_bad_frames,
    streams.check_bad_frames, streams.check_truncation, streams.check_malformed, streams.check_incomplete,
    streams.check_spoilt_bytes, streams.check_limits, streams.check_splits, streams.check_spec_string,
)
_NOT_IF_CHUNK_DEPENDENT = (
    answers.check_final, streams.check_chunking, answers.check_round_trip, streams.check_truncation,
    streams.check_spoilt_bytes, streams.check_limits, streams.check_bad_frames, streams.check_splits,
)
# fmt: on


@dataclass(frozen=True)
class Check:
    """One promise that a framer must keep. Its function's docstring is the promise, and then how to mend it.

    Attributes:
        name: its name in messages, such as ``"linear-cost"``.
        promise: the promise, one sentence.
        mend: how to fix a framer that breaks it; empty if that depends.
    """

    name: str
    promise: str
    mend: str
    _check: Function = field(repr=False)
    _suite: Suite = field(repr=False)

    @classmethod
    def of(cls, function: Function, suite: Suite) -> Check:
        """Make a check of a function."""
        name = function.__name__.removeprefix("check_").replace("_", "-")
        promise, _, mend = (function.__doc__ or "").partition("\n\n")
        mend = " ".join(mend.split()).removesuffix(".")
        return cls(name, promise, mend[:1].lower() + mend[1:], function, suite)

    def run(self) -> str | None:
        """Try the promise. Return why it could not be tried, or None if it is kept.

        Raises:
            ConformanceError: it is broken.
        """
        if self._suite.chunk_dependent and self._check in _NOT_IF_CHUNK_DEPENDENT:
            return "its frames are whatever has arrived"
        try:
            with under(self.name, self._suite.framer, self.promise, self.mend):
                self._check(self._suite)
        except Untried as reason:
            return str(reason)
        return None


@dataclass
class Report:
    """The result of `check_framer`.

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


def conformance_checks(framer: ReadCondition[Any], **arguments: Unpack[Arguments]) -> list[Check]:
    """Return the checks that `check_framer` runs, to run one by one, such as in a parametrised test.

    The arguments are those of `check_framer`.
    """
    suite = Suite(framer, **arguments)
    return [Check.of(function, suite) for function in _CHECKS]


def check_framer(framer: ReadCondition[Any], **arguments: Unpack[Arguments]) -> Report:
    r"""Check every promise of the contract on a framer; a plain function, for any test runner::

        check_framer(
            Delimiter(b"\n"),
            examples={b"a\nbc\n": [b"a", b"bc"]},
            incomplete=[b"abc"],
            slow_frame=lambda size: b"x" * size + b"\n",
        )

    Args:
        framer: a read condition or framer.
        examples: streams, each with the list of its frames: a mapping, or pairs.
        malformed: streams that must raise `FramingError` or `PayloadError`; a mapping to, or pairs with,
            a text that the error must contain.
        incomplete: streams that end inside a frame.
        slow_frame: a function that makes the bytes of one frame of about the given size, to count the cost
            with; preferably a frame that is hard to search, full of beginnings of delimiters. Or one long
            frame. If it is left out, frames are grown from the examples, if that succeeds.
        chunk_dependent: the frames are the bytes that have arrived, as with `Available`; promises that
            cannot hold then are not checked.

    Returns:
        A report of the checks made, and of those that had nothing to check with.

    Raises:
        ConformanceError: the framer breaks a promise; the message names the defect.
    """
    reasons = {check.name: check.run() for check in conformance_checks(framer, **arguments)}
    kept = [name for name, reason in reasons.items() if reason is None]
    return Report(describe_framer(framer), kept, {name: reason for name, reason in reasons.items() if reason})
