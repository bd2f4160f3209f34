"""JournalExport: the entries of systemd's journal."""

from __future__ import annotations

import re
from dataclasses import dataclass
from struct import Struct
from typing import Annotated, Any, ClassVar, Final, TypeAlias

from framestream import EncodeError, Framer, FramingError, NeedMore, Span, Window
from framestream.errors import counted
from framestream.framer import PADDING, ValueSpan, bytes_of, first_match
from framestream.framers import Fields, GeneratorFramer

Value: TypeAlias = str | bytes
Entry: TypeAlias = dict[str, Value | list[Value]]
"""Names and values; of a field that an entry has several times, the list of them."""

_NAME: Final = re.compile(rb"[A-Z_][A-Z0-9_]{0,63}")
_TEXT: Final = re.compile(r"[^\x00-\x08\x0a-\x1f]*")
_SIZE: Final = Struct("<Q")
_NEW_LINES: Final = re.compile(rb"\n+")
_AFTER_AN_ENTRY: Final = re.compile(rb"(?<=\n\n)[A-Z_][A-Z0-9_]{0,63}[=\n]")
_LONGEST_BEGINNING: Final = 65


def _slow_frame(size: int) -> bytes:
    """Return an entry of about so many bytes, full of beginnings of others, for the conformance kit."""
    return b"A\n%b%b\n\n" % (_SIZE.pack(size), (b"\n\nA" * size)[:size])


@dataclass(frozen=True)
class JournalExport(GeneratorFramer[Entry], Framer[Entry]):
    r"""Cut the entries that ``journalctl -o export`` writes (systemd.io, "Journal Export Formats").

    ::

        INPUT     MESSAGE=hi\nPRIORITY=6\n\n     BLOB\n\2\0\0\0\0\0\0\0\xff\0\n\n
        DECODED   {"MESSAGE": "hi", "PRIORITY": "6"}   {"BLOB": b"\xff\0"}

    A field is a name, ``=`` and text up to the line feed; or a name, a line feed, the size as 64 bits in
    little-endian order, so many bytes, and a line feed. An empty line ends an entry; further ones are
    ignored. Values are given as str, those that are not UTF-8 as bytes. A name other than of at most 64
    capital letters, digits and underscores, and bytes without a line feed after them, break the journal
    (`FramingError`).

    In the middle of a journal, an entry probably begins at a name after an empty line.
    """

    name = "journal-export"
    slow_frame = staticmethod(_slow_frame)
    overhead = 0
    synchronises = "likely"
    lookbehind = 2
    examples: ClassVar[dict[bytes, list[Entry]]] = {
        b"MESSAGE=hi\nPRIORITY=6\n\nBLOB\n\2\0\0\0\0\0\0\0\xff\0\n\nA=1\nA=2\n\n": [
            {"MESSAGE": "hi", "PRIORITY": "6"},
            {"BLOB": b"\xff\0"},
            {"A": ["1", "2"]},
        ],
    }
    malformed: ClassVar[dict[bytes, str]] = {b"lower=1\n\n": "is not a name of a field"}
    peers = ("journalctl, systemd-journal-remote 252",)

    max_size: Annotated[int | None, "The largest entry. Bytes."] = None

    def find(self, window: Window) -> Span | ValueSpan | NeedMore:
        """Return the span of an entry; empty lines before it are padding."""
        if window.memo is None and (empty := _NEW_LINES.match(window.data, window.start)):
            return window.start, window.start, empty.end(), PADDING
        return super().find(window)

    def fields(self) -> Fields[Entry]:
        """Read field after field up to an empty line."""
        entry: Entry = {}
        while line := (yield b"\n"):
            raw, equals, value = line.partition(b"=")
            if _NAME.fullmatch(raw) is None:
                raise FramingError(f"{raw[:80]!r} is not a name of a field")
            if not equals:
                [size] = yield _SIZE
                value = yield size
                if (end := (yield 1)) != b"\n":
                    raise FramingError(f"field of {counted(size, 'byte')} ends with {end!r}")
            _add(entry, raw.decode("ascii"), _as_text(value))
        return entry

    def find_start(self, window: Window) -> int | NeedMore:
        """Return the first place of a name after an empty line."""
        return first_match(_AFTER_AN_ENTRY, window, _LONGEST_BEGINNING)

    def encode(self, frame: Entry) -> bytes:
        """Return the fields, text with an equals sign, and all else with its size, and an empty line.

        Raises:
            EncodeError: it is no entry, a name is malformed, or bytes are UTF-8 and so would be read as str.
        """
        entry: Any = frame  # callers without a type checker pass anything
        if not isinstance(entry, dict) or not entry:
            raise EncodeError("an entry is a mapping of at least one name to its value")
        pieces: list[bytes] = []
        for name, value in entry.items():
            if not isinstance(name, str) or not _NAME.fullmatch(name.encode("utf-8", "replace")):
                raise EncodeError(f"{name!r} is not a name of a field")
            if isinstance(value, list) and len(value) < 2:
                raise EncodeError(f"{name} has a list of {len(value)} values; one is given as itself")
            pieces += [_field(name, one) for one in (value if isinstance(value, list) else (value,))]
        wire = b"".join(pieces) + b"\n"
        if self.max_size is not None and len(wire) > self.max_size:
            raise EncodeError(f"entry of {counted(len(wire), 'byte')} exceeds the limit {self.max_size}")
        return wire


def _add(entry: Entry, name: str, value: Value) -> None:
    if name not in entry:
        entry[name] = value
    elif isinstance(known := entry[name], list):
        known.append(value)
    else:
        entry[name] = [known, value]


def _as_text(value: bytes) -> Value:
    try:
        return value.decode()
    except UnicodeDecodeError:
        return value


def _field(name: str, value: object) -> bytes:
    try:
        data = value.encode() if isinstance(value, str) else bytes_of(value)
    except UnicodeEncodeError as error:
        raise EncodeError(f"{name}: {error}") from error
    if not isinstance(value, str) and isinstance(_as_text(data), str):
        raise EncodeError(f"{name} is bytes that are UTF-8, which are read as str; give it as that")
    if isinstance(value, str) and _TEXT.fullmatch(value):
        return b"%b=%b\n" % (name.encode(), data)
    return b"%b\n%b%b\n" % (name.encode(), _SIZE.pack(len(data)), data)
