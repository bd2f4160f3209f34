"""What tornado.iostream is, on framestream's streams: the module that takes its place."""

from framestream_tornado._base import BaseIOStream
from framestream_tornado._errors import StreamBufferFullError, StreamClosedError, UnsatisfiableReadError
from framestream_tornado._pipe_stream import PipeIOStream
from framestream_tornado._socket_stream import IOStream
from framestream_tornado._ssl_stream import SSLIOStream

__all__ = [
    "BaseIOStream",
    "IOStream",
    "PipeIOStream",
    "SSLIOStream",
    "StreamBufferFullError",
    "StreamClosedError",
    "UnsatisfiableReadError",
]
