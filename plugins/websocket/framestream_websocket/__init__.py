"""WebSocket for framestream: frames, and messages on top of them (RFC 6455)."""

from framestream_websocket._frame import Frame, Opcode
from framestream_websocket._handshake import accept_key
from framestream_websocket._messages import Close, Messages, Ping, Pong, WebSocketError, close_code
from framestream_websocket._websocket import WebSocket

__all__ = [
    "Close",
    "Frame",
    "Messages",
    "Opcode",
    "Ping",
    "Pong",
    "WebSocket",
    "WebSocketError",
    "accept_key",
    "close_code",
]
