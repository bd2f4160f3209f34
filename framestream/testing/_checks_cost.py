"""Checks of cost, counted and not timed: twice the bytes cost twice as much, and no more."""

from __future__ import annotations

from collections.abc import Iterator

from framestream.framer import NeedMore
from framestream.testing._asking import Answer, ask, same_answer
from framestream.testing._case import Case, lengths
from framestream.testing._cost import Cost, ask_cost, drip_cost, one_by_one_cost, split_cost
from framestream.testing._failure import ConformanceError, describe_answer
from framestream.testing._progress import Progress
from framestream.testing._slow_frames import Pair, slow_frames

# Twice the work may cost twice as much, and as many bytes for each byte of the stream may be noise.
_FACTOR = 2.05
_NOISE = {"examined": 4, "entitled": 4, "allocated": 16}
_HEADER = 64

# Short frames are repeated to streams of this size and its double, much longer than what a framer may
# look at in one bounded glance.
_STREAM = 6144

# A few parser objects and buffers may be made; a declared size goes far beyond.
_MOST_ALLOCATED = 4 << 20
_MOST_STARTS = 16

_NO_SLOW_FRAME = "no slow_frame was given and none could be grown from the examples"
_RESUME = (
    "search from window.resume instead of window.start, and return NeedMore(resume=...) with the index up "
    "to which nothing was found; where a header tells the size, return the span at once, for it may end "
    "beyond the data"
)
_SLICE = "look at window.data in place, with indices: a slice or bytes(window.data) copies all of it"


def check_linear_cost(case: Case) -> str | None:
    """A frame that arrives byte by byte costs twice as much if it is twice as long."""
    pair = slow_frames(case)
    if pair is None:
        return _NO_SLOW_FRAME
    costs = drip_cost(case.framer, pair.short), drip_cost(case.framer, pair.long)
    what = "a frame that arrives byte by byte"
    _compare(pair, costs, "entitled", f"find rescans {what}: resume stays behind", _RESUME)
    _compare(pair, costs, "examined", f"find rescans {what}", _RESUME)
    _compare(pair, costs, "allocated", f"find copies {what} again and again", _SLICE)
    return None


def check_resume(case: Case) -> str | None:
    """What lies before `resume` is not looked at again, except for the first 64 bytes of the frame."""
    pair = slow_frames(case)
    if pair is None:
        return _NO_SLOW_FRAME
    frame = pair.long
    progress = Progress()
    asked = set(lengths(len(frame))[1:])
    for size in range(1, len(frame)):
        if size < progress.size:
            continue
        window = progress.window(frame[:size])
        answer = ask(case.framer, window)
        if progress.resume > _HEADER and size in asked:
            _try_decoys(case, frame, size, progress, answer)
        if not isinstance(answer, NeedMore):
            return None
        progress.note(answer, window)
    return None


def check_many_frames(case: Case) -> str | None:
    """Many short frames that arrive together cost twice as much if they are twice as many."""
    frames = [frame for frame in case.frames() if len(frame) <= _STREAM // 64]
    for frame in frames[-1:]:
        count = _STREAM // len(frame)
        pair = Pair(frame * count, frame * count * 2)
        costs = one_by_one_cost(case.framer, pair.short), one_by_one_cost(case.framer, pair.long)
        if costs[1].questions != 2 * count:
            return "frames of the examples cannot be repeated: one takes the next for its own"
        what = f"{2 * count} short frames in one chunk cost more and more"
        for counted in ("examined", "allocated"):
            hint = "stop searching at the frame's end, and slice nothing but the frame"
            _compare(pair, costs, counted, f"find looks far behind the frame: {what}", hint)
        costs = split_cost(case.framer, pair.short), split_cost(case.framer, pair.long)
        hint = "go through the window once, and do not cut off its beginning"
        _compare(pair, costs, "examined", f"split looks at the same bytes again: {what}", hint)
    return None if frames else "the examples have no short frame that ends by itself"


def check_declared_sizes(case: Case) -> None:
    """No size that a frame declares makes `find` allocate memory before the bytes are there."""
    starts = dict.fromkeys(frame[:_HEADER] for frame in case.situations())
    for frame in list(starts)[:_MOST_STARTS]:
        for data in _with_huge_numbers(frame):
            allocated = ask_cost(case.framer, data)
            if allocated > _MOST_ALLOCATED:
                raise ConformanceError(
                    "find allocates memory for a size that a frame merely declares",
                    data=data,
                    expected=f"at most {_MOST_ALLOCATED} bytes for the {len(data)} that are there",
                    got=f"{allocated} bytes allocated",
                    hint="return the span without making anything of that size: the decoder checks the "
                    "limit, and gathers the bytes as they arrive",
                )


def _with_huge_numbers(frame: bytes) -> Iterator[bytes]:
    for at in range(min(len(frame), 12)):
        for width in (1, 2, 4, 8):
            for digit in (b"\x7f", b"\xff", b"9"):
                yield frame[:at] + digit * width + frame[at + width :]


def _compare(pair: Pair, costs: tuple[Cost, Cost], counted: str, defect: str, hint: str) -> None:
    low, high = (getattr(cost, counted) for cost in costs)
    short, long = len(pair.short), len(pair.long)
    times = high / max(1, low)
    if high <= low * _FACTOR * long / (2 * short) + _NOISE[counted] * long:
        return
    raise ConformanceError(
        defect,
        data=pair.long,
        expected=f"at most {_FACTOR} times the cost for twice the bytes",
        got=f"{_name(counted)}: {low} for {short} bytes, {high} for {long} bytes ({times:.1f} times)",
        hint=hint,
    )


def _try_decoys(case: Case, frame: bytes, size: int, progress: Progress, answer: Answer) -> None:
    """Ask again with the end of the frame written all over what must not be looked at."""
    hidden = progress.resume - _HEADER
    for width in (1, 2, 4, 8, 16):
        end = frame[-width:]
        decoy = (end * (hidden // width + 1))[-hidden:]
        shown = frame[:_HEADER] + decoy + frame[progress.resume : size]
        again = ask(case.framer, progress.window(shown))
        if not same_answer(again, answer):
            raise ConformanceError(
                "find rescans: it looks again at bytes before resume",
                data=shown,
                expected=f"{describe_answer(answer)}, as with other bytes before index {progress.resume}",
                got=describe_answer(again),
                hint=_RESUME,
            )


def _name(counted: str) -> str:
    return {
        "entitled": "bytes between resume and the end of the data",
        "examined": "bytes examined",
        "allocated": "bytes allocated",
    }[counted]
