"""Tornado's streams on framestream: a replacement for tornado.iostream, or servers that need none."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from framestream_tornado._place import place

if TYPE_CHECKING:
    from framestream_tornado._server import Adopting, TCPServer, adopt

__all__ = ["Adopting", "TCPServer", "adopt", "install"]


install = place.take


def __getattr__(name: str) -> Any:
    # Servers import Tornado, and with it tornado.iostream: only on first use.
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from framestream_tornado import _server  # noqa: PLC0415

    return getattr(_server, name)
