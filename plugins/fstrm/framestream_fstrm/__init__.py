"""Frame Streams for framestream: data, control frames, and their handshake."""

from framestream_fstrm._control import Control, ControlType
from framestream_fstrm._fstrm import Fstrm
from framestream_fstrm._handshake import HandshakeError, Reading, Writing

__all__ = ["Control", "ControlType", "Fstrm", "HandshakeError", "Reading", "Writing"]
