"""HeaderThenBody: the decoded header says how to read what follows."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import KW_ONLY, dataclass
from typing import Annotated, Any

from framestream.errors import EncodeError
from framestream.framer import Framer, NeedMore, ReadCondition, Span, ValueSpan, Window
from framestream.framers._steps import UNFIT, cut_steps, encode_steps, find_steps, overhead_of, split_by_cut
from framestream.framers._value_checks import check_max_size
from framestream.framers._whole import refuse_truncated


@dataclass(frozen=True)
class HeaderThenBody(Framer[Any]):
    r"""Frames whose header says how to read their body; the frame is the pair of both.

    ::

        HeaderThenBody(Line(), lambda line: Exactly(int(line))):   b"2\nhi"  ->  ("2", b"hi")

    ``combine(header, body)`` makes the frame from both, and ``separate(frame)`` gives both back for
    writing. A header for which `body` raises ValueError is a `FramingError`; a frame that `combine`
    refuses with ValueError is a `PayloadError`. It is a `Sequence` of two parts in all else.
    """

    name = "header-then-body"

    header: Annotated[ReadCondition[Any], "Reads the header."]
    body: Annotated[
        Callable[[Any], ReadCondition[Any]], "Given the decoded header, returns what reads the body."
    ]
    _: KW_ONLY
    combine: Annotated[Callable[[Any, Any], Any] | None, "Makes the frame from header and body."] = None
    separate: Annotated[Callable[[Any], tuple[Any, Any]] | None, "Gives both back from a frame."] = None
    max_size: Annotated[int | None, "The largest payload, header and body together. Bytes."] = None

    def __post_init__(self) -> None:
        check_max_size(self.max_size)
        object.__setattr__(self, "overhead", overhead_of((self.header, self.body)))

    def find(self, window: Window) -> Span | ValueSpan | NeedMore:
        """Return the span of both, or what the current part lacks."""
        return find_steps((self.header, self.body), self._make, window)

    def _make(self, parts: tuple[Any, Any]) -> Any:
        return parts if self.combine is None else self.combine(*parts)

    def cut(self, data: bytes, start: int) -> tuple[Any, int] | None:
        """Cut the one frame at `start`, if all its parts are there and plain."""
        return cut_steps((self.header, self.body), self._make, data, start)

    def split(self, window: Window) -> tuple[list[Any], int]:
        """Cut every plain frame."""
        return split_by_cut(self.cut, window)

    def decode(self, payload: bytes) -> Any:
        """Refuse: a frame is decoded by what was learnt when it was found, and this one was truncated."""
        refuse_truncated(payload)

    def encode(self, frame: Any) -> list[bytes]:
        """Return header and body, each as its own framer writes it."""
        if self.separate is not None:
            try:
                frame = self.separate(frame)
            except UNFIT as error:
                raise EncodeError(f"frame cannot be taken apart: {error}") from error
        elif self.combine is not None:
            raise EncodeError("header and body are combined; writing needs separate= to take them apart")
        return encode_steps((self.header, self.body), frame, self.max_size)

    def explain(self, window: Window) -> str:
        """Guess as the header does."""
        return self.header.explain(window)
