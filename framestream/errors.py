"""Every exception framestream raises, grouped by whose fault it is.

================  =======================================================================
whose fault       class
================  =======================================================================
the peer          `FramingError`, `FrameTooLarge`, `IncompleteFrame`: the stream is broken or short
the payload       `PayloadError`: this frame cannot be decoded, the stream is still in step
the caller        `EncodeError`, `SpecError`, `UnknownFramerError`, `AddressError`, `StreamBusy`,
                  `StreamClosed`; ValueError and TypeError for a senseless option
the network       `ConnectError`, `ConnectTimeout`: no connection could be made
the system        `WorkerError`: a server's process cannot be started; `ArchiveError`: a file cannot be read
the plugin        `FramerContractError`, `PluginError`
================  =======================================================================

Sizes are in bytes; an ``offset`` counts from the first byte of the stream.
"""

from __future__ import annotations

import copyreg
import errno
import os
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from sys import float_info
from typing import Any, Final, TypeGuard, TypeVar

E = TypeVar("E", bound=BaseException)

FAULTS: Final = (Exception, SystemExit)
"""Exceptions that count as faults of a framer that raises them; even SystemExit must not end the program.

KeyboardInterrupt belongs to the user and CancelledError ends a task, so neither is among them.
"""

# Control characters and the marks of direction, which a terminal obeys instead of showing them, line breaks, and
# lone surrogates, which stand for bytes that are not UTF-8. Other text that Python calls unprintable is unchanged.
# Compiled on first use: that is 4 % of `get_framer("line")`, imports included.
_OBEYED: Final = "[\0-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]"
_MOST_SHOWN: Final = 10_000  # characters of another library's error message
_MOST_TOLD: Final = 500  # characters of one line about a plugin
_MOST_NAMES: Final = 40  # in one list of them


class FramestreamError(Exception):
    """The base of every exception that framestream raises on purpose. Each can be pickled."""

    def __reduce__(self) -> tuple[Any, ...]:
        # Exception's own `__reduce__` would call the class with the message alone, and OSError's `__new__` drops it.
        state = {**self.__dict__, "args": self.args}
        return copyreg.__newobj__, (type(self),), state  # type: ignore[attr-defined]  # not in typeshed


class _Placed(FramestreamError):
    """What is wrong at an offset of a stream or file, and with which framer."""

    _place = "at offset"

    def __init__(self, reason: str, *, offset: int | None = None, framer: str = "") -> None:
        super().__init__(reason)
        self.reason = reason
        self.offset = offset
        self.source = ""
        self.framer = framer

    def __str__(self) -> str:
        if self.offset is None:
            return self.reason
        return f"{self.reason} ({self._place} {self.offset}{' of ' if self.source else ''}{self.source})"


class FramingError(_Placed):
    """The bytes break the rules of the framing, and nothing after them can be trusted.

    A condition raises it with a `reason` and, where it knows the place more exactly than "this frame",
    the `position` of the offending byte in ``window.data``. The decoder adds the rest.

    Attributes:
        reason: what is wrong, without the place.
        position: index in the window the condition was given, or None for the start of the frame.
        offset: where in the stream, in bytes from its start; None until a decoder has seen it.
        source: the file that the offset is in, or "" for a stream.
        framer: the condition that refused, as its spec string.
        excerpt: up to 32 bytes from `offset` on, for a hex dump.
    """

    def __init__(
        self, reason: str, *, position: int | None = None, offset: int | None = None, excerpt: bytes = b""
    ) -> None:
        super().__init__(reason, offset=offset)
        self.position = position
        self.excerpt = excerpt


class FrameTooLarge(FramingError):
    """A frame is larger than the limit in force.

    Attributes:
        limit: the limit, in bytes of payload.
        size: the payload's size if the frame declared it before its last byte, else None.
        discarded: bytes of this frame that were skipped so far, header and delimiter included.
        recoverable: True if the next read continues after this frame, False if the stream is broken.
        closing: True if the policy in force is to close the stream.
    """

    def __init__(self, *, limit: int, size: int | None = None, recoverable: bool = False) -> None:
        what = f"frame exceeds the limit of {counted(limit, 'byte')}"
        if size is not None:
            what = f"frame of {counted(size, 'byte')} exceeds the limit {limit}"
        super().__init__(what)
        self.limit = limit
        self.size = size
        self.discarded = 0
        self.recoverable = recoverable
        self.closing = False


class IncompleteFrame(FramingError):
    """The stream ended in the middle of a frame. Nothing is consumed: the bytes stay readable as leftover.

    Attributes:
        received: bytes of the frame that did arrive (and were not passed on as parts).
        expected: bytes the whole frame takes, if it declared that, else None.
    """

    def __init__(self, *, received: int, expected: int | None = None) -> None:
        some = counted(received, "byte") if expected is None else f"{received} of {counted(expected, 'byte')}"
        super().__init__(f"stream ended inside a frame: {some} arrived")
        self.received = received
        self.expected = expected


class PayloadError(_Placed):
    """This frame's payload cannot be decoded. The frame is consumed; the next read continues after it.

    Attributes:
        reason: what is wrong.
        payload: the payload as it was received.
        offset: where in the stream the frame began; None until a decoder has seen it.
        source: the file that the offset is in, or "" for a stream.
        payload_offset: where in the stream its payload began, after its header.
        framer: the condition whose `decode` refused, as its spec string.
    """

    _place = "frame at offset"

    def __init__(self, reason: str, *, payload: bytes = b"", offset: int | None = None, framer: str = "") -> None:
        super().__init__(reason, offset=offset, framer=framer)
        self.payload = payload
        self.payload_offset = offset


class EncodeError(FramestreamError, ValueError):
    """The caller's frame has no encoding in this framing; nothing was written."""


class SpecError(FramestreamError, ValueError):
    """A spec string, or one of its options, does not describe a framer.

    Attributes:
        spec: the whole string.
        position: index of the first wrong character, or None.
    """

    def __init__(self, reason: str, *, spec: str = "", position: int | None = None) -> None:
        super().__init__(reason)
        self.spec = spec
        self.position = position


class UnknownFramerError(SpecError, LookupError):
    """No framer has this name.

    Attributes:
        name: the name asked for.
        suggestion: the nearest name that exists, or None.
        available: every name that exists.
        distribution: the distribution to install for it, if known, or None.
    """

    def __init__(
        self,
        name: str,
        *,
        available: tuple[str, ...] = (),
        suggestion: str | None = None,
        distribution: str | None = None,
    ) -> None:
        hint = f"; did you mean {suggestion!r}?" if suggestion else ""
        more = ", ..." if len(available) > _MOST_NAMES else ""
        hint += f" (available: {', '.join(available[:_MOST_NAMES])}{more})" if available else ""
        if distribution is not None:
            hint = f"; it comes with {distribution}: pip install {distribution}"
        super().__init__(f"no framer named {name!r}{hint}", spec=name)
        self.name = name
        self.available = available
        self.suggestion = suggestion
        self.distribution = distribution


class AddressError(FramestreamError, ValueError):
    """A URL does not say where to connect or listen.

    Attributes:
        url: the whole string.
    """

    def __init__(self, reason: str, *, url: str = "") -> None:
        super().__init__(reason)
        self.url = url


class ConnectError(FramestreamError, ConnectionError):
    """No connection could be made to a URL.

    Attributes:
        url: the URL.
        attempts: each address that was tried, with the exception that ended it.
    """

    def __init__(self, reason: str, *, url: str = "", attempts: tuple[tuple[str, BaseException], ...] = ()) -> None:
        super().__init__(reason)
        self.url = url
        self.attempts = attempts


class ConnectTimeout(ConnectError, TimeoutError):
    """No connection could be made to a URL within the time allowed."""


class WorkerError(FramestreamError, RuntimeError):
    """A worker process cannot be started."""


class ArchiveError(FramestreamError):
    """A file of frames cannot be read, has changed, or contradicts its index.

    Attributes:
        reason: what is wrong, without the place.
        url: the file.
        offset: where in it, in bytes, or None.
    """

    def __init__(self, reason: str, *, url: str = "", offset: int | None = None) -> None:
        place = "" if offset is None else f" (at offset {offset})"
        super().__init__(f"{url}: {reason}{place}" if url else f"{reason}{place}")
        self.reason = reason
        self.url = url
        self.offset = offset


class StreamBusy(FramestreamError):
    """A read, or a frame being streamed in parts, is still under way; finish or skip it first."""


class StreamClosed(FramestreamError):
    """The stream is closed, so the operation cannot be done.

    Attributes:
        real_error: what closed it, or None after an orderly close.
    """

    def __init__(self, reason: str = "stream is closed", *, real_error: BaseException | None = None) -> None:
        super().__init__(reason if real_error is None else f"{reason}: {describe_os_error(real_error)}")
        self.real_error = real_error


class StreamTimeout(FramestreamError, TimeoutError):
    """Something took longer than allowed: a frame, a silent peer, a slow sender, a peer that never reads.

    After a read timeout nothing is consumed and the stream is usable; after a write timeout it is closed.

    Attributes:
        peer: for a read, the peer that did not send the frame in time; else empty.
    """

    def __init__(self, *reason: object, peer: str = "") -> None:
        super().__init__(*reason)
        self.peer = peer


class BufferFull(FramestreamError):
    """More bytes than allowed would have to be buffered.

    For a write, nothing was written. For a read, the stream is closed.

    Attributes:
        size: bytes that would be buffered.
        limit: bytes that may be buffered.
    """

    def __init__(self, reason: str, *, size: int, limit: int) -> None:
        super().__init__(f"{reason}: {counted(size, 'byte')}, limit {limit}")
        self.size = size
        self.limit = limit


class FramerContractError(FramestreamError):
    """A framer broke the contract: the bug is in the framer, not in the bytes.

    Attributes:
        framer: the condition at fault, as its spec string.
        offset: where in the stream the framer was asked.
    """

    def __init__(self, reason: str, *, framer: str = "", offset: int | None = None) -> None:
        super().__init__(f"{framer or 'framer'}: {reason}")
        self.framer = framer
        self.offset = offset


class DecodeFault(PayloadError, FramerContractError):
    """`decode` raised an exception outside the contract, such as a KeyError: a bad payload, or a bug.

    Only a person can tell which. A reader sees a bad frame like any other, and reading continues after it;
    code that looks for broken framers catches it as a `FramerContractError`.
    """


class PluginError(FramestreamError):
    """A plugin could not be loaded or used; other plugins are not affected. Its text is one printable line.

    Attributes:
        plugin: the plugin's name.
    """

    def __init__(self, reason: str, *, plugin: str = "") -> None:
        line = " ".join(reason[: 2 * _MOST_TOLD].split())
        shown = line if len(line) <= _MOST_TOLD else f"{line[:_MOST_TOLD]}..."
        super().__init__(printable(shown))
        self.plugin = plugin


@contextmanager
def blame(what: str, *, plugin: str = "", ours: tuple[type[Exception], ...] = ()) -> Iterator[None]:
    """Turn any exception from a plugin's code inside the block into a `PluginError` that describes it.

    This includes ``SystemExit`` and exceptions without a working ``str``. A `PluginError`, the exceptions
    named in `ours`, and KeyboardInterrupt pass unchanged.
    """
    let_through: tuple[type[BaseException], ...] = (KeyboardInterrupt, *ours)
    try:
        yield
    except let_through:
        raise
    except BaseException as error:
        if type(error) is PluginError:  # a class derived from it is the plugin's, and may raise in turn
            raise
        told = describe_error(error, keep="\n")
        raise PluginError(f"{what}: {type(error).__name__}: {told}", plugin=plugin) from error


def counted(number: int, noun: str) -> str:
    """Return a number with what it counts: ``1 byte``, ``2 bytes``, ``2 processes``."""
    ending = "" if number == 1 else "es" if noun.endswith("s") else "s"
    return f"{number} {noun}{ending}"


def describe_os_error(error: BaseException) -> str:
    """Return in a few lower-case words why something failed: the system's text, without its number."""
    text, name, origin = describe_error(error), type(error).__name__, type(error).__module__
    if origin == "ssl":  # its errno is not the system's
        known = getattr(error, "verify_message", "") or getattr(error, "reason", "") or text
        text = known if " " in known else known.replace("_", " ").lower()
    elif isinstance(error, OSError):
        # The resolver has its own numbers, and some errors have none.
        number = 0 if origin == "socket" else error.errno or 0
        text = os.strerror(number) if number in errno.errorcode else error.strerror or text
    is_name = text == name or (text[:2].isupper() and text[1:2] != " ")  # or an acronym
    return text if is_name else text[:1].lower() + text[1:]


def printable(text: str, *, keep: str = "") -> str:
    """Return text that a peer or a plugin may have chosen, made safe for a terminal or a log line.

    Unprintable characters become escapes: control characters (C0, C1), marks that change the direction
    of writing, lone surrogates, line breaks.

    Args:
        keep: characters to leave unchanged, a line feed for instance.
    """
    if text.isascii() and text.isprintable():  # most is
        return text
    return re.sub(_OBEYED, lambda found: found[0] if found[0] in keep else _escape(found[0]), text)


def _escape(character: str) -> str:
    return character.encode("unicode_escape", "surrogatepass").decode()


class Respite(Exception):
    """Not an error: a decoder skipped many frames in a row and lets its caller give other tasks a turn."""


def describe_error(error: BaseException, *, keep: str = "") -> str:
    """Return the error's message, printable; its type's name if it has none, or if its ``str`` raises.

    Args:
        keep: as in `printable`.
    """
    try:
        text = str(error)
    except KeyboardInterrupt:
        raise
    except BaseException as broken:  # noqa: BLE001  # a class outside framestream may raise anything
        text = f"{type(error).__name__}, whose str() raises {type(broken).__name__}"
    shown = text if len(text) <= _MOST_SHOWN else f"{text[:_MOST_SHOWN]}..."
    return printable(shown, keep=keep) or type(error).__name__


def because(error: E, cause: BaseException | None) -> E:
    """Return `error` with its cause set, ready to raise: the same as ``raise error from cause``.

    mypyc drops what follows ``from``, so the compiled packages use this.
    """
    error.__cause__ = cause
    return error


# A senseless option is refused when it is given, not when it is used ---------------------------


def check_count(
    name: str, value: object, *, least: int = 0, most: int | None = None, of: str = "", optional: bool = False
) -> None:
    """Raise ValueError unless `value` is a whole number, say of bytes, or None where that means no limit."""
    # Python takes True for an int; as an option it is a mistake.
    is_count = isinstance(value, int) and not isinstance(value, bool) and value >= least
    if is_count and (most is None or value <= most):  # type: ignore[operator]  # it is an int
        return
    allowed = f"{least} or more" if most is None else f"from {least} to {most}"
    _check_absent(name, value, f"a whole number{of}, {allowed}", optional)


def check_amount(name: str, value: object, *, of: str, optional: bool = False) -> None:
    """Raise ValueError unless `value` is a number of something, or None where that means no limit."""
    if not (_is_finite(value) and value >= 0):
        _check_absent(name, value, f"a number of {of}, 0 or more", optional)


check_seconds: Final = partial(check_amount, of="seconds")
check_rate: Final = partial(check_amount, of="bytes per second")


def check_choice(name: str, value: object, allowed: Sequence[str]) -> None:
    """Raise ValueError unless `value` is one of the allowed words."""
    if value not in allowed:
        raise ValueError(f"{name} is {value!r}; it must be one of {', '.join(allowed)}")


def check_truth(name: str, value: object) -> None:
    """Raise ValueError unless `value` is True or False."""
    if not isinstance(value, bool):
        raise ValueError(f"{name} is {value!r}; it must be True or False")


def nearest(word: str, among: Iterable[str]) -> str | None:
    """Return the likeliest spelling of a mistyped word, or None."""
    from difflib import get_close_matches  # noqa: PLC0415  # a mistake has time

    return next(iter(get_close_matches(word, list(among), n=1)), None)


def did_you_mean(word: str, among: Iterable[str]) -> str:
    """Return ``; did you mean 'x'?`` for the likeliest spelling, or nothing."""
    close = nearest(word, among)
    return f"; did you mean {close!r}?" if close else ""


def unknown_options(what: str, unknown: Iterable[str], known: Iterable[str], elsewhere: Mapping[str, str]) -> TypeError:
    """Return the error for options that there are not; it suggests what was meant, which may have another name."""
    names = sorted(unknown)
    meant = elsewhere.get(names[0]) or nearest(names[0], known)
    hint = f"; did you mean {meant}?" if meant else ""
    return TypeError(f"{what}: {', '.join(names)}{hint}")


def check_function(name: str, value: object, *, optional: bool = False) -> None:
    """Raise TypeError unless `value` can be called, or is None where no function is needed."""
    if not (callable(value) or (optional and value is None)):
        raise TypeError(f"{name} is {value!r}; it must be a function")


_NUMBER: Final = int | float  # made anew in each call, it costs as much as the check


def _is_finite(value: object) -> TypeGuard[int | float]:
    # Infinity is refused as well, and a whole number too large for a float: not every loop can wait for it.
    return isinstance(value, _NUMBER) and not isinstance(value, bool) and abs(value) <= float_info.max


def _check_absent(name: str, value: object, allowed: str, optional: bool) -> None:
    if value is None and optional:
        return
    choice = ", or None for no limit" if optional else ""
    raise ValueError(f"{name} is {value!r}; it must be {allowed}{choice}")
