"""The hooks a plugin may implement, and the markers for them.

A plugin implements any number of them, each as a function marked ``@hookimpl``. It may leave out
arguments it does not use, so a hook can gain arguments without breaking plugins. Hooks are plain
functions: they are called in the middle of a read or of the event loop, and must not block.

If a hook raises, its plugin has failed and is no longer used; the caller continues.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pluggy

if TYPE_CHECKING:
    from collections.abc import Callable

    from framestream.framer import Framer, ReadCondition

    Factory = Callable[..., ReadCondition[Any]]

hookspec = pluggy.HookspecMarker("framestream")
hookimpl = pluggy.HookimplMarker("framestream")


@hookspec
def framestream_register_framers(register: Callable[[str, Factory], None]) -> None:
    """Register framers by calling ``register(name, factory)`` once for each entry point.

    The name is what users type, and the factory is the framer's class, or a function that makes one.
    """


@hookspec
def framestream_stream_opened(stream: Any) -> None:
    """Called when a stream is connected or accepted."""


@hookspec
def framestream_stream_closed(stream: Any) -> None:
    """Called when a stream is closed for good, for any reason."""


@hookspec
def framestream_stream_failed(stream: Any, error: BaseException) -> None:
    """Called when a stream is about to close because of this error."""


@hookspec
def framestream_server_opened(server: Any) -> None:
    """Called when a server listens."""


@hookspec
def framestream_server_closed(server: Any) -> None:
    """Called when a server has stopped listening."""


@hookspec
def framestream_server_failed(server: Any, error: BaseException) -> None:
    """Called when a server could not accept, or one of its handlers raised."""


@hookspec
def framestream_frame_received(stream: Any, condition: ReadCondition[Any], frame: Any) -> None:
    """Called with a frame that is about to be delivered."""


@hookspec
def framestream_frame_sent(stream: Any, framer: Framer[Any], frame: Any) -> None:
    """Called with a frame that was put into the write buffer."""
