"""What the decoder answers instead of a frame: named, never ``None`` or ``b""``."""

from __future__ import annotations

from enum import Enum
from typing import Final, Literal, TypeAlias


class Signal(Enum):
    """The decoder's answers that are not frames."""

    NEED_DATA = "feed more bytes"
    END = "the stream ended between two frames"
    FRAME_END = "the streamed frame is complete"

    def __repr__(self) -> str:
        return self.name


NEED_DATA: Final = Signal.NEED_DATA
END: Final = Signal.END
FRAME_END: Final = Signal.FRAME_END

NeedData: TypeAlias = Literal[Signal.NEED_DATA]
End: TypeAlias = Literal[Signal.END]
FrameEnd: TypeAlias = Literal[Signal.FRAME_END]
