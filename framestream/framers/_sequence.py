"""Sequence: frames made of several parts, each cut by its own condition."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any

from framestream.framer import Framer, NeedMore, ReadCondition, Span, ValueSpan, Window
from framestream.framers._steps import (
    Step,
    cut_steps,
    encode_steps,
    find_steps,
    is_condition,
    overhead_of,
    split_by_cut,
)
from framestream.framers._value_checks import check_max_size
from framestream.framers._whole import refuse_truncated


@dataclass(frozen=True, init=False)
class Sequence(Framer[tuple[Any, ...]]):
    r"""Frames made of parts, one behind the other; the frame is the tuple of their values.

    ::

        Sequence(Line(), LengthPrefix(2)):                      b"one\n\0\2hi"  ->  ("one", b"hi")
        Sequence(FixedLength(1), lambda n: Exactly(n[0])):      b"\2hi"         ->  (b"\2", b"hi")

    A part is a condition, or a function that is given the values of all parts before it and returns one.
    What the function refuses with ValueError is a `FramingError`: nothing after that can be trusted. A
    part that cannot be decoded makes the frame a `PayloadError`, unless a function depends on it.

    The payload, which the limit counts and which is streamed, goes from the first part's payload to the
    last one's, with whatever stands between them. Every part but the last must be complete before the next
    one is looked at, and is held to its own `max_size`; the last one can be streamed or discarded in
    constant memory. A frame truncated at the limit is a `PayloadError`. Writing takes a tuple with one value
    for each part, all of which must be framers.
    """

    name = "sequence"

    steps: Annotated[tuple[ReadCondition[Any], ...], "The parts: framers, in the order of their bytes."]
    max_size: Annotated[int | None, "The largest payload, all parts together. Bytes."]

    def __init__(self, *steps: Step, max_size: int | None = None) -> None:
        if not steps:
            raise ValueError("a sequence needs at least one part")
        check_max_size(max_size)
        object.__setattr__(self, "steps", steps)
        object.__setattr__(self, "max_size", max_size)
        object.__setattr__(self, "overhead", overhead_of(steps))
        object.__setattr__(self, "can_be_empty", all(getattr(step, "can_be_empty", False) for step in steps))

    def find(self, window: Window) -> Span | ValueSpan | NeedMore:
        """Return the span of all parts, or what the current one lacks."""
        return find_steps(self.steps, tuple, window)

    def cut(self, data: bytes, start: int) -> tuple[tuple[Any, ...], int] | None:
        """Cut the one frame at `start`, if all its parts are there and plain."""
        return cut_steps(self.steps, tuple, data, start)

    def split(self, window: Window) -> tuple[list[Any], int]:
        """Cut every plain frame."""
        return split_by_cut(self.cut, window)

    def decode(self, payload: bytes) -> Any:
        """Refuse: a frame is decoded by what was learnt when it was found, and this one was truncated."""
        refuse_truncated(payload)

    def encode(self, frame: tuple[Any, ...]) -> list[bytes]:
        """Return the parts, each as its own framer writes it."""
        return encode_steps(self.steps, frame, self.max_size)

    def explain(self, window: Window) -> str:
        """Guess as the first part does."""
        return self.steps[0].explain(window) if is_condition(self.steps[0]) else ""
