"""HTTP/1.1 for framestream: heads, chunks and chunked bodies (RFC 9112)."""

from framestream_http._body import body_of
from framestream_http._chunk import Chunk, HttpChunk
from framestream_http._chunked import Chunked, HttpChunked
from framestream_http._head import HttpRequest, HttpResponse
from framestream_http._heads import Fields, RequestHead, ResponseHead

__all__ = [
    "Chunk",
    "Chunked",
    "Fields",
    "HttpChunk",
    "HttpChunked",
    "HttpRequest",
    "HttpResponse",
    "RequestHead",
    "ResponseHead",
    "body_of",
]
