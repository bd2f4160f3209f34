"""How frames are printed: one class for each ``--output``."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import IO, Any, ClassVar, Final

from framestream.cli._render import hexdump, to_json, to_text
from framestream.framer import NeedMore, ReadCondition, Span, ValueSpan, Window


class Output(ABC):
    """Writes frames to a binary stream.

    Attributes:
        decoded: it prints what a condition decodes; otherwise the payload as it is in the stream.
        placed: it prints where each frame is, too.
    """

    decoded: ClassVar[bool] = True
    placed: ClassVar[bool] = False

    def __init__(self, stream: IO[bytes], separator: bytes) -> None:
        self.stream = stream
        self.separator = separator

    @abstractmethod
    def write(self, frame: Any, offset: int, size: int) -> None:
        """Print one frame."""


class JsonOutput(Output):
    """One JSON object on a line of its own for each frame."""

    placed = True

    def write(self, frame: Any, offset: int, size: int) -> None:
        """Print ``{"offset":0,"size":6,"frame":"..."}``."""
        line = f'{{"offset":{offset},"size":{size},"frame":{to_json(frame)}}}\n'
        self.stream.write(line.encode("utf-8", "surrogatepass"))


class HexOutput(Output):
    """A headline and a hex dump of the payload for each frame."""

    decoded = False
    placed = True

    def write(self, frame: Any, offset: int, size: int) -> None:
        """Print where the frame is, and its payload."""
        lines = [f"frame at {offset}, {size} bytes, payload {len(frame)}", *hexdump(frame), ""]
        self.stream.write("\n".join(lines).encode("ascii"))


class TextOutput(Output):
    """Frames as text, one after the other."""

    def write(self, frame: Any, offset: int, size: int) -> None:
        """Print the frame and the separator."""
        self.stream.write(to_text(frame).encode("utf-8", "surrogateescape") + self.separator)


class RawOutput(Output):
    """Payloads as they are in the stream."""

    decoded = False

    def write(self, frame: Any, offset: int, size: int) -> None:
        """Print the payload and the separator."""
        self.stream.write(frame + self.separator)


OUTPUTS: Final[dict[str, type[Output]]] = {
    "json": JsonOutput,
    "hex": HexOutput,
    "text": TextOutput,
    "raw": RawOutput,
}


class Undecoded(ReadCondition[bytes]):
    """Another condition's frames, with the payload as it is in the stream instead of what it decodes to."""

    def __init__(self, condition: ReadCondition[Any]) -> None:
        self.condition = condition
        self.name = condition.name
        self.max_size = condition.max_size
        self.overhead = condition.overhead
        self.can_be_empty = condition.can_be_empty

    def find(self, window: Window) -> Span | ValueSpan | NeedMore:
        """Return the other condition's span, without the value."""
        found = self.condition.find(window)
        return found[:3] if isinstance(found, tuple) else found

    def explain(self, window: Window) -> str:
        """Say what the other condition would say."""
        return self.condition.explain(window)

    def __str__(self) -> str:
        return str(self.condition)
