"""Reading and Writing: the two ends of a Frame Stream, as its frames arrive.

::

    both directions     Writing  READY      START data... STOP          Reading
                                      ACCEPT                    FINISH
    one direction       Writing  START data... STOP                     Reading
"""

from __future__ import annotations

from enum import Enum

from framestream import FramingError
from framestream_fstrm._control import Control, ControlType
from framestream_fstrm._fstrm import Frame


class HandshakeError(FramingError):
    """The frames are right, but out of order, or name another content type."""


class _State(Enum):
    BEGUN = "before START"
    READY = "between READY and START"
    STARTED = "after START"
    STOPPED = "after STOP"
    FINISHED = "after FINISH"


class Reading:
    """The receiving end of the data; one for each connection or file.

    The other end decides whether the stream has two directions, by beginning with READY, or one, by
    beginning with START.

    Args:
        content_type: the only one to accept, such as ``b"protobuf:dnstap.Dnstap"``; None accepts any.
    """

    def __init__(self, content_type: bytes | None = None) -> None:
        self.content_type = content_type
        self._state = _State.BEGUN
        self._answers = False

    @property
    def finished(self) -> bool:
        """True after STOP: nothing may follow."""
        return self._state is _State.STOPPED

    def add(self, frame: Frame) -> Frame | None:
        """Return data for the reader, a `Control` to send, or None.

        Raises:
            HandshakeError: the frame is out of order, or names no accepted content type.
        """
        state = self._state
        if not isinstance(frame, Control):
            if state is not _State.STARTED:
                raise HandshakeError(f"data {state.value}")
            return frame
        if frame.type is ControlType.READY and state is _State.BEGUN:
            self._state, self._answers = _State.READY, True
            return Control(ControlType.ACCEPT, self._accepted(frame.content_types))
        if frame.type is ControlType.START and state in (_State.BEGUN, _State.READY):
            self._accepted(frame.content_types)
            self._state = _State.STARTED
            return None
        if frame.type is ControlType.STOP and state is _State.STARTED:
            self._state = _State.STOPPED
            return Control(ControlType.FINISH) if self._answers else None
        raise HandshakeError(f"{frame.type.name} {state.value}")

    def _accepted(self, offered: tuple[bytes, ...]) -> tuple[bytes, ...]:
        if self.content_type is None:
            return offered
        if offered and self.content_type not in offered:
            raise HandshakeError(f"content types {offered!r:.100}, not {self.content_type!r}")
        return (self.content_type,)


class Writing:
    """The sending end of the data, of a stream in both directions; one for each connection.

    Send `ready` first, then whatever `add` returns; data may follow when `started`, and `stop` at the end.

    Args:
        content_type: the type of the data, such as ``b"protobuf:dnstap.Dnstap"``; None names none.
    """

    def __init__(self, content_type: bytes | None = None) -> None:
        self._content_types = () if content_type is None else (content_type,)
        self.ready = Control(ControlType.READY, self._content_types)
        self.stop = Control(ControlType.STOP)
        self._state = _State.READY

    @property
    def started(self) -> bool:
        """True when data may be sent."""
        return self._state is _State.STARTED

    @property
    def finished(self) -> bool:
        """True when the other end has everything."""
        return self._state is _State.FINISHED

    def add(self, frame: Frame) -> Control | None:
        """Return the `Control` that answers this frame: START for ACCEPT; None for FINISH.

        Raises:
            HandshakeError: the frame is out of order, or accepts other content types.
        """
        kind = frame.type if isinstance(frame, Control) else None
        if isinstance(frame, Control) and kind is ControlType.ACCEPT and self._state is _State.READY:
            accepted = frame.content_types
            if self._content_types and accepted and self._content_types[0] not in accepted:
                raise HandshakeError(f"content types {accepted!r:.100}, not {self._content_types[0]!r}")
            self._state = _State.STARTED
            return Control(ControlType.START, self._content_types)
        if kind is ControlType.FINISH and self._state is _State.STARTED:
            self._state = _State.FINISHED
            return None
        raise HandshakeError(f"{'data' if kind is None else kind.name} {self._state.value}")
