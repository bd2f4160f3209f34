"""Checks that a framer is a value: `find` is pure, nothing is kept in the framer, equals are equal."""

from __future__ import annotations

import copy
import pickle
from itertools import zip_longest
from typing import Any

from framestream.framer import NeedMore, ReadCondition, Window
from framestream.testing._asking import Answer, ask, same_answer
from framestream.testing._case import Case
from framestream.testing._chunkings import in_pieces
from framestream.testing._comparing import same_frames
from framestream.testing._failure import ConformanceError, describe_answer, describe_error
from framestream.testing._progress import Progress
from framestream.testing._reference import Reader, Reading, read_chunks

_PURE = "find is a function of the window alone: keep progress in NeedMore(resume=..., memo=...)"


def check_purity(case: Case) -> None:
    """The same window gives the same answer, and asking changes nothing."""
    for frame in case.situations():
        _drip_and_watch(case.framer, frame[:200])


def check_value(case: Case) -> None:
    """A framer can be hashed and copied, and equals its copy."""
    framer = case.framer
    try:
        twin = copy.copy(framer)
        same = framer == twin and hash(framer) == hash(twin)
    except TypeError as error:
        raise ConformanceError(
            f"it cannot be hashed: {describe_error(error)}",
            expected="a value, usable as the key of a dict",
            hint="make it @dataclass(frozen=True), with tuples instead of lists in its fields",
        ) from error
    if not same:
        raise ConformanceError(
            "it does not equal its own copy",
            expected="two framers with the same options are equal and have the same hash",
            hint="make it @dataclass(frozen=True)",
        )


def check_sharing(case: Case) -> None:
    """Two streams that are read in turns through one framer are read as each of them alone."""
    wires = [wire for wire in case.wires if len(wire) <= 400]
    for one, other in zip(wires, [*wires[1:], *wires[:1]], strict=True):
        streams = in_pieces(one, 1), in_pieces(other, 3)
        together = _read_in_turns(case.framer, *streams)
        for chunks, got in zip(streams, together, strict=True):
            expected = read_chunks(case.framer, chunks)
            if not same_frames(expected.values(), got.values()) or expected.outcome != got.outcome:
                raise ConformanceError(
                    "two streams read in turns through one framer disturb each other",
                    chunks=chunks,
                    expected=f"{expected.values()!r}, then {expected.outcome}",
                    got=f"{got.values()!r}, then {got.outcome}",
                    hint=_PURE,
                )


def _read_in_turns(framer: ReadCondition[Any], *streams: list[bytes]) -> list[Reading]:
    readers = [Reader(framer) for _ in streams]
    for chunks in zip_longest(*streams, fillvalue=b""):
        for reader, chunk in zip(readers, chunks, strict=True):
            reader.feed(chunk)
    return [reader.finish() for reader in readers]


def _drip_and_watch(framer: ReadCondition[Any], frame: bytes) -> None:
    ask(framer, Window(frame))  # whatever the framer prepares for itself once is prepared by now
    progress = Progress()
    for size in range(1, len(frame) + 1):
        if size < progress.size:
            continue
        window = progress.window(frame[:size], before=b"\0\1", kind=bytearray)
        answer = _ask_twice(framer, window)
        if not isinstance(answer, NeedMore):
            return
        progress.note(answer, window)


def _ask_twice(framer: ReadCondition[Any], window: Window) -> Answer:
    seen, memo = _look(window), window.memo
    before = _state(framer)
    first = ask(framer, window)
    changed = _changes(before, _state(framer))
    frame = bytes(window.data[window.start :])
    if changed:
        raise ConformanceError(f"find keeps state in self: {changed}", data=frame, hint=_PURE)
    if _look(window) != seen or window.memo is not memo:
        raise ConformanceError(
            "find changes the window it was given",
            data=frame,
            expected=f"{seen}, as before the question",
            got=_look(window),
            hint="look at the window, do not touch it",
        )
    second = ask(framer, window)
    if not same_answer(first, second):
        raise ConformanceError(
            "find answers differently when it is asked the same question again",
            data=frame,
            expected=f"{describe_answer(first)}, the first answer",
            got=describe_answer(second),
            hint=_PURE + "; treat the memo as immutable",
        )
    return first


def _look(window: Window) -> str:
    names = ("start", "resume", "eof", "taken")
    shown = ", ".join(f"{name}={getattr(window, name)}" for name in names)
    return f"data={bytes(window.data)!r}, {shown}"


def _state(framer: object) -> dict[str, bytes | str]:
    slots = [name for kind in type(framer).__mro__ for name in getattr(kind, "__slots__", ())]
    names = [*getattr(framer, "__dict__", ()), *slots]
    return {name: _fingerprint(getattr(framer, name)) for name in names if hasattr(framer, name)}


def _fingerprint(value: object) -> bytes | str:
    try:
        return pickle.dumps(value)
    except Exception:  # noqa: BLE001  # lambdas, compiled patterns of other engines: anything may refuse
        return repr(value)


def _changes(before: dict[str, bytes | str], after: dict[str, bytes | str]) -> str:
    names = [name for name in {**before, **after} if before.get(name) != after.get(name)]
    if not names:
        return ""
    return f"asking changes the attribute {', '.join(sorted(names))}"
