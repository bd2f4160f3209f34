"""How to read the body after a head (RFC 9112 6.3)."""

from __future__ import annotations

from typing import Any, Final

from framestream import Exactly, ReadCondition, UntilClose
from framestream_http._chunk import HttpChunk
from framestream_http._facts import facts_of
from framestream_http._heads import RequestHead, ResponseHead

_WITHOUT_BODY: Final = frozenset((204, 304))


def body_of(head: RequestHead | ResponseHead, *, method: bytes = b"GET") -> ReadCondition[Any] | None:
    """Return the condition that reads the body after this head, or None if there is no body.

    That is ``Exactly``, or ``HttpChunk`` to be read until a chunk is the ``last``, or ``UntilClose``. For a
    response, `method` is the request's. A body may be of any size: limit it where you read it.

    After a successful response to CONNECT, and after one of status 101, None means another protocol.

    Raises:
        ValueError: the head contradicts itself, which no head that was read does.
    """
    facts = facts_of(head.fields, request=isinstance(head, RequestHead), minor=head.minor)
    if isinstance(head, ResponseHead) and _is_bodiless(head, method):
        return None
    if facts.chunked:
        return HttpChunk()
    if facts.coding or (facts.length is None and not facts.request):
        return UntilClose()
    return Exactly(facts.length) if facts.length else None


def _is_bodiless(head: ResponseHead, method: bytes) -> bool:
    if method == b"HEAD" or head.status in _WITHOUT_BODY or head.status < 200:
        return True
    return method == b"CONNECT" and head.status < 300
