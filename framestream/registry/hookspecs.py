"""The hooks a plugin may implement, and the markers for them.

A plugin implements any number of them, each as a function marked ``@hookimpl``. It may leave out
arguments it does not use, so a hook can gain arguments without breaking plugins. Hooks are plain
functions: they are called in the middle of a read or of the event loop, and must not block.

If a hook raises, its plugin has failed and is no longer used; the caller continues.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

import pluggy

if TYPE_CHECKING:
    from collections.abc import Callable

    from framestream.framer import Framer, ReadCondition

    Factory = Callable[..., ReadCondition[Any]]

hookspec = pluggy.HookspecMarker("framestream")
hookimpl = pluggy.HookimplMarker("framestream")


class Register(Protocol):
    """The function passed to `framestream_register_framers`."""

    def __call__(self, name: str, factory: Factory | str) -> None:
        """Register a framer under the name its users type.

        `factory` is the framer's class, a function that makes one, or, so that nothing is imported
        before the name is asked for, ``"module:attribute"``.
        """


@hookspec
def framestream_register_framers(register: Register) -> None:
    """Register framers by calling ``register(name, factory)`` once for each."""


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
