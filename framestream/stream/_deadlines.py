"""Time limits on a read that waits: a deadline for the frame, a silent peer, a peer that trickles."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from framestream.errors import StreamTimeout

if TYPE_CHECKING:
    from framestream.stream._waiting import Reader
from framestream.decoder import FrameDecoder


@dataclass(frozen=True)
class Pace:
    """How long a read may take; None, or 0 for the rate, sets no limit.

    Attributes:
        timeout: seconds for the whole read, from its beginning.
        deadline: the latest time for it on the loop's clock.
        idle: seconds without a single byte.
        rate: bytes per second, on average since the frame's first byte; looked at once `grace` seconds
            have passed since then, so that a read may wait for a frame to begin.
        grace: see `rate`.
    """

    timeout: float | None = None
    deadline: float | None = None
    idle: float | None = None
    rate: float = 0
    grace: float = 1.0

    def but(self, timeout: float | None, deadline: float | None, rate: float | None) -> Pace:
        """Return the pace of one read that has limits of its own."""
        if timeout is None and deadline is None:
            timeout = self.timeout
        return Pace(timeout, deadline, self.idle, self.rate if rate is None else rate, self.grace)

    def begin(self, loop: asyncio.AbstractEventLoop, decoder: FrameDecoder) -> ReadTimer:
        """Begin to watch over a read."""
        return ReadTimer(loop, self, decoder)

    @property
    def limits_anything(self) -> bool:
        """True if any limit is set."""
        return bool(self.rate) or not self.timeout == self.deadline == self.idle is None


class ReadTimer:
    """Watch over one read, or over one frame that is read in parts.

    One timer of the loop serves all limits: it is set for the earliest, and again if that was not due.
    Between the parts of a frame no time passes: what its reader does there is not the peer's fault.
    """

    __slots__ = (
        "_arrived",
        "_began",
        "_deadline",
        "_decoder",
        "_first",
        "_handle",
        "_loop",
        "_offset",
        "_pace",
        "_paused",
        "_reader",
    )

    def __init__(self, loop: asyncio.AbstractEventLoop, pace: Pace, decoder: FrameDecoder) -> None:
        now = loop.time()
        ends = [] if pace.deadline is None else [pace.deadline]
        if pace.timeout is not None:
            ends.append(now + pace.timeout)
        self._reader: Reader | None = None
        self._loop = loop
        self._pace = pace
        self._decoder = decoder
        self._offset = decoder.offset  # where the frame begins
        self._paused: float | None = None
        self._deadline = min(ends, default=None)
        self._began = self._arrived = now
        self._first: float | None = now if decoder.buffered else None  # when the frame's first byte came
        self._handle: asyncio.TimerHandle | None = None

    def begin(self, loop: asyncio.AbstractEventLoop, decoder: FrameDecoder) -> ReadTimer:
        """Go on with the next part of the frame."""
        if self._paused is not None:
            pause, self._paused = loop.time() - self._paused, None
            self._began += pause
            self._arrived += pause
            if self._deadline is not None and self._pace.deadline is None:
                self._deadline += pause
            if self._first is not None:
                self._first += pause
        return self

    def wait(self, reader: Reader) -> None:
        """Give `reader` a `StreamTimeout` when a limit is passed before `cancel`."""
        self._reader = reader
        if self._handle is None:
            self._check()

    def note_arrival(self) -> None:
        """Take note that bytes have arrived."""
        self._arrived = self._loop.time()
        if self._first is None:
            self._first = self._arrived
            if self._pace.rate and self._handle is not None:
                self._stop()
                self._check()

    def cancel(self) -> None:
        """Set no more timers: the read, or the part, is done."""
        self._paused = self._loop.time()
        self._stop()

    def _stop(self) -> None:
        if self._handle is not None:
            self._handle.cancel()
            self._handle = None

    def _check(self) -> None:
        self._handle = None
        reader = self._reader
        if reader is None:
            return
        now = self._loop.time()
        due: list[float] = []
        for limit, reason in self._limits(now):
            if limit <= now:
                reader.fail(StreamTimeout(reason))
                return
            due.append(limit)
        if due:
            self._handle = self._loop.call_at(min(due), self._check)

    def _limits(self, now: float) -> list[tuple[float, str]]:
        pace, limits = self._pace, []
        if self._deadline is not None:
            limits.append((self._deadline, f"frame not complete after {now - self._began:.3g} s"))
        if pace.idle is not None:
            limits.append((self._arrived + pace.idle, f"nothing received for {now - self._arrived:.3g} s"))
        if pace.rate and self._first is not None:
            # The bytes that came pay for this much time; those passed on already count as well.
            got = self._decoder.received - self._offset
            paid = got / pace.rate
            took = f"{now - self._first:.3g} s, minimum {pace.rate:g} bytes/s"
            reason = f"only {got} bytes of a frame after {took}"
            limits.append((self._first + max(pace.grace, paid), reason))
        return limits


async def within(
    loop: asyncio.AbstractEventLoop, awaitable: Awaitable[None], timeout: float | None, what: str
) -> None:
    """Wait for `what`, but no longer than `timeout` seconds: then it is a `StreamTimeout`."""
    try:
        await asyncio.wait_for(awaitable, timeout)
    except asyncio.TimeoutError as error:
        raise StreamTimeout(f"{what} not done after {timeout:g} s") from error


def settle(future: asyncio.Future[Any]) -> tuple[Callable[[Any], None], Callable[[BaseException], None]]:
    """Return two callbacks that end a future, unless somebody has cancelled it."""

    def result(value: Any) -> None:
        if not future.done():
            future.set_result(value)

    def fail(error: BaseException) -> None:
        if not future.done():
            future.set_exception(error)

    return result, fail
