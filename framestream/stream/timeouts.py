"""Time limits on a waiting read: a deadline for the frame, a silent peer, a slow peer."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from framestream.decoder import FrameDecoder
from framestream.errors import StreamTimeout, check_rate, check_seconds, counted

if TYPE_CHECKING:
    from framestream.stream.reads import PendingRead


@dataclass(frozen=True, slots=True)
class ReadTimeouts:
    """How long a read may take; None, or 0 for the rate, sets no limit.

    Attributes:
        timeout: seconds for the whole read, from its beginning.
        idle: seconds without a single byte.
        rate: bytes per second, on average since the frame's first byte; checked once `grace` seconds
            have passed since then, so that a read may wait for a frame to begin.
        grace: see `rate`.
    """

    timeout: float | None = None
    idle: float | None = None
    rate: float = 0
    grace: float = 1.0

    def but(self, timeout: float | None = None, min_rate: float | None = None) -> ReadTimeouts:
        """Return the limits of one read that overrides some; refuse invalid ones."""
        check_seconds("timeout", timeout, optional=True)
        rate = self.rate if min_rate is None else min_rate
        check_rate("min_rate", rate)
        return ReadTimeouts(self.timeout if timeout is None else timeout, self.idle, rate, self.grace)

    def begin(self, loop: asyncio.AbstractEventLoop, decoder: FrameDecoder) -> ReadTimer:
        """Begin to watch over a read."""
        return ReadTimer(loop, self, decoder)


class ReadTimer:
    """Watch over one read, or over one frame that is read in parts.

    One timer of the loop serves all limits: it is set for the earliest, and again if that was not due.
    Between the parts of a frame no time passes: the reader's work there is not the peer's fault.
    """

    # fmt: off
    __slots__ = (
        "_arrived", "_began", "_decoder", "_first", "_handle", "_limits", "_loop", "_offset", "_paused", "_read",
    )
    # fmt: on

    def __init__(self, loop: asyncio.AbstractEventLoop, limits: ReadTimeouts, decoder: FrameDecoder) -> None:
        now = loop.time()
        self._read: PendingRead | None = None
        self._loop = loop
        self._limits = limits
        self._decoder = decoder
        self._offset = decoder.offset  # where the frame begins
        self._began = self._arrived = self._paused = now
        self._first: float | None = now if decoder.buffered else None  # when the frame's first byte came
        self._handle: asyncio.Handle | None = None

    def begin(self, loop: asyncio.AbstractEventLoop, decoder: FrameDecoder) -> ReadTimer:
        """Continue with the next part of the frame."""
        now = loop.time()
        pause, self._paused = now - self._paused, now
        self._began += pause
        self._arrived += pause
        if self._first is not None:
            self._first += pause
        return self

    def wait(self, read: PendingRead) -> None:
        """Give `read` a `StreamTimeout` when a limit is passed before `cancel`."""
        self._read = read
        if self._handle is None:
            self._set()

    def note_arrival(self) -> None:
        """Note that bytes have arrived."""
        self._arrived = self._loop.time()
        if self._first is None:
            self._first = self._arrived
            if self._limits.rate and self._handle is not None:
                self._stop()
                self._set()

    def cancel(self) -> None:
        """Set no more timers: the read, or the part, is done."""
        self._paused = self._loop.time()
        self._stop()

    def _stop(self) -> None:
        if self._handle is not None:
            self._handle.cancel()
            self._handle = None

    def _set(self) -> None:
        now = self._loop.time()
        due = min((limit for limit, _ in self._due(now)), default=None)
        if due is None:
            return
        if due > now:
            self._handle = self._loop.call_at(due, self._check)
        else:
            # In two passes: by then all bytes that have arrived already are pushed.
            self._handle = self._loop.call_soon(self._check_soon)

    def _check_soon(self) -> None:
        self._handle = self._loop.call_soon(self._check)

    def _check(self) -> None:
        self._handle = None
        now = self._loop.time()
        for limit, reason in self._due(now):
            if limit <= now and self._read is not None:
                self._read.fail(StreamTimeout(reason, peer=self._read.stream.peer))
                return
        self._set()

    def _due(self, now: float) -> list[tuple[float, str]]:
        limits, due = self._limits, []
        if limits.timeout is not None:
            due.append((self._began + limits.timeout, f"frame not complete after {now - self._began:.3g} s"))
        if limits.idle is not None:
            due.append((self._arrived + limits.idle, f"nothing received for {now - self._arrived:.3g} s"))
        if limits.rate and self._first is not None:
            # The bytes received pay for this much time; those passed on already count as well.
            got = self._decoder.received - self._offset
            took = f"{now - self._first:.3g} s, minimum {limits.rate:g} bytes/s"
            paid_until = self._first + max(limits.grace, got / limits.rate)
            due.append((paid_until, f"only {counted(got, 'byte')} of a frame after {took}"))
        return due


class within:  # noqa: N801 - to use as asyncio.timeout
    """Cancel the block after `timeout` seconds: then it is a `StreamTimeout` with this message."""

    # A generator with `asynccontextmanager` costs three times as much ("tls-handshake" in benchmarks/).
    def __init__(self, timeout: float | None, what: str) -> None:
        self._timeout, self._what, self._limit = timeout, what, asyncio.timeout(timeout)

    def __aenter__(self) -> Awaitable[object]:
        return self._limit.__aenter__()

    async def __aexit__(self, *raised: Any) -> None:
        try:
            await self._limit.__aexit__(*raised)
        except TimeoutError as late:
            raise StreamTimeout(f"{self._what} after {self._timeout:g} s") from late
