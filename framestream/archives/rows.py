"""Rows: frames as dictionaries and as Arrow record batches, for tools that work with columns.

A frame that is a mapping is a row, and its fields are columns. Any other frame is a row of three: `offset`,
`size` and `frame`. Batches need the extra "arrow".
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import chain, count, islice, repeat
from typing import Any, Final, NamedTuple, TypeAlias

from framestream.archives.split import ON_ERROR, OnError, Split
from framestream.archives.stitch import Map, stitch
from framestream.errors import ArchiveError, PayloadError, check_choice, counted

Row: TypeAlias = dict[str, Any]

ERROR: Final = "_error"
"""The column with the error of a bad frame, with ``on_error="column"``; None for a good one."""

_SAMPLE: Final = 1000  # frames whose fields become columns
_MOST_ROWS: Final = 1 << 13
_MOST_BYTES: Final = 1 << 22
_TEXT: Final = frozenset((str,))  # the usual types of keys

logger = logging.getLogger("framestream.archives")


def exact(splits: Iterable[Split], *, map: Map = map) -> list[Split]:
    """Return splits that can each be read alone: these, or if they cannot yet, those that `stitch` makes.

    Args:
        map: calls a function for each split, such as that of an engine, which runs on other machines.

    Raises:
        ValueError: there are no splits.
        ArchiveError: as `stitch`.
    """
    splits = list(splits)
    if not splits:
        raise ValueError("there is nothing to read: no file was given")
    return splits if all(split.is_exact for split in splits) else stitch(splits, map=map).splits


class _Kept(NamedTuple):
    """A frame that becomes a row, or a bad one: the one `number` frames after the place `offset`."""

    offset: int
    size: int
    frame: Any
    error: Exception | None = None
    number: int = 0


class _Frames:
    """The frames of a split that become rows. Bad ones are raised, or become rows, or are counted and told."""

    def __init__(self, split: Split, on_error: OnError) -> None:
        check_choice("on_error", on_error, ON_ERROR)
        self.split, self.on_error = split, on_error
        self._reader = split.read()
        self._bad = 0
        self._first: Exception | None = None

    def keeps(self, error: Exception) -> bool:
        """Say whether a bad frame becomes a row."""
        if self.on_error == "raise":
            raise error
        self._bad += 1
        self._first = self._first or error
        return self.on_error == "column"

    def tell(self) -> None:
        """Log how many frames became no row."""
        if self._bad and self.on_error == "skip":
            frames = counted(self._bad, "bad frame")
            logger.warning("skipped %s of %s, the first: %s", frames, self.split.source.url, self._first)

    def __iter__(self) -> Iterator[_Kept]:
        """Yield the frames: mappings as they are cut in batches, twice as fast, the others with their places."""
        reader = self._reader
        position = 0
        for frames, error in reader.pieces(in_batches=False):
            are_mappings = {*map(type, frames)} == {dict} or all(isinstance(frame, Mapping) for frame in frames)
            if error is not None:
                if self.keeps(error):
                    yield _Kept(*reader.place, None, error)
            elif not reader.in_batches:
                yield _Kept(*reader.place, frames[0])
            elif are_mappings:
                size = (reader.position - position) // len(frames)
                yield from map(_Kept, repeat(position), repeat(size), frames, repeat(None), count())
            else:
                yield from self.placed(position, 0, len(frames))
            reader.in_batches = are_mappings and error is None
            position = reader.position

    def placed(self, start: int, number: int, many: int) -> Iterator[_Kept]:
        """Read again what was read from a place on, now with places: `many` frames after the first `number`."""
        part = replace(self.split, start=start, first=start, stop=self._reader.position)
        records = part.records(on_error=self.on_error)
        return (_Kept(*record) for record in islice(records, number, number + many))


def rows(split: Split, *, on_error: OnError = "raise") -> Iterator[Row]:
    """Yield the frames of a split as rows.

    Args:
        split: one that is exact.
        on_error: "raise" the error of the first bad frame; "skip" bad frames, and log their number;
            or give every row a "column" `_error`, and a bad frame a row without a `frame`.

    Raises:
        FramingError, PayloadError, ArchiveError: as `Split.records`.
        ValueError: `on_error` is none of these words.
    """
    frames = _Frames(split, on_error)
    for kept in frames:
        yield _row(kept, on_error)
    frames.tell()


def _row(kept: _Kept, on_error: OnError) -> Row:
    row = kept.frame
    is_dict = type(row) is dict
    if not (is_dict or isinstance(row, Mapping)):
        row = {"offset": kept.offset, "size": kept.size, "frame": row}
    elif not (is_dict and _TEXT.issuperset(map(type, row))):
        row = {key if isinstance(key, str) else _text(key): value for key, value in row.items()}
    if on_error == "column":
        row = {**row, ERROR: None if kept.error is None else str(kept.error)}
    result: Row = row
    return result


def _text(key: Any) -> str:
    return key.decode(errors="backslashreplace") if isinstance(key, bytes) else str(key)


@dataclass(frozen=True)
class Columns:
    """The columns of all record batches of an archive, and how frames become rows. It can be pickled.

    Attributes:
        schema: their names and types, a `pyarrow.Schema`.
        are_all: whether a frame with another field is bad; if not, the field is left out.
        on_error: what happens to bad frames, see `rows`; frames that fit no columns are among them.
    """

    schema: Any
    are_all: bool = True
    on_error: OnError = "raise"

    def __post_init__(self) -> None:
        check_choice("on_error", self.on_error, ON_ERROR)

    @cached_property
    def names(self) -> frozenset[str]:
        """The names of the columns."""
        return frozenset(self.schema.names)

    @classmethod
    def of(cls, splits: Iterable[Split], schema: Any = None, *, on_error: OnError = "raise") -> Columns:
        """Return the columns of a schema; without one, those of the first 1000 frames.

        Raises:
            ArchiveError: the frames show no single type for a column, or pyarrow is not installed.
            FramingError, PayloadError: as `rows`, in the first frames.
        """
        pyarrow = _pyarrow()
        if schema is None:
            return cls(_shown(splits, on_error), True, on_error)
        if on_error == "column" and ERROR not in schema.names:
            schema = schema.append(pyarrow.field(ERROR, pyarrow.string()))
        return cls(schema, False, on_error)

    def batches(self, split: Split) -> Iterator[Any]:
        """Yield the frames of a split as record batches of at most 8192 rows and some 4 MiB.

        Raises:
            FramingError, PayloadError, ArchiveError: as `rows`.
        """
        frames = _Frames(split, self.on_error)
        for group in _groups(frames):
            try:
                batch = self._batch(group)
            except Exception:  # noqa: BLE001 - whatever pyarrow says of values: it is said again of one of them
                again = frames.placed(group[0].offset, group[0].number, len(group))
                batch = self._batch([fitting for kept in again for fitting in self._fitting(kept, frames)])
            yield batch
        frames.tell()

    def table(self, split: Split) -> Any:
        """Return the frames of a split as a `pyarrow.Table`; see `batches`."""
        return _pyarrow().Table.from_batches(self.batches(split), self.schema)

    def _fitting(self, kept: _Kept, frames: _Frames) -> list[_Kept]:
        """Return the frame if it fits; else it is a bad one, of which no row may remain."""
        try:
            self._batch([kept])
        except Exception as cause:  # noqa: BLE001
            reason = f"it does not fit the columns {', '.join(self.schema.names)}: {cause}; pass a schema"
            error = PayloadError(reason, offset=kept.offset, framer=str(frames.split.condition))
            error.source = frames.split.source.url
            error.__cause__ = cause
            return [kept._replace(frame=None, error=error)] if frames.keeps(error) else []
        return [kept]

    def _batch(self, group: list[_Kept]) -> Any:
        found = list(map(self._row, group))
        arrays = [_array([row.get(column.name) for row in found], column.type) for column in self.schema]
        return _pyarrow().RecordBatch.from_arrays(arrays, schema=self.schema)

    def _row(self, kept: _Kept) -> Row:
        row = _row(kept, self.on_error)
        if kept.error is None:
            if type(kept.frame) is not dict and not isinstance(kept.frame, Mapping) and "frame" not in self.names:
                raise ValueError(f"the frame is of type {type(kept.frame).__name__}, and no mapping")
            if self.are_all and not self.names.issuperset(row):
                raise ValueError(f"the frame has a field {min(row.keys() - self.names)!r}, too")
        return row


def _groups(frames: Iterable[_Kept]) -> Iterator[list[_Kept]]:
    group: list[_Kept] = []
    size = 0
    for kept in frames:
        group.append(kept)
        size += kept.size
        if len(group) == _MOST_ROWS or size >= _MOST_BYTES:
            yield group
            group, size = [], 0
    if group:
        yield group


def _array(values: list[Any], kind: Any) -> Any:
    """Return an Arrow array of a type; unlike `pyarrow.array`, refuse to turn 1.5 into an integer."""
    pyarrow = _pyarrow()
    types = pyarrow.types
    if (types.is_integer(kind) or types.is_nested(kind)) and pyarrow.infer_type(values) != kind:
        for value in values:
            _check_whole_numbers(value, kind, types)
    return pyarrow.array(values, kind)


def _check_whole_numbers(value: Any, kind: Any, types: Any) -> None:
    if isinstance(value, float) and types.is_integer(kind) and not value.is_integer():
        raise ValueError(f"{value} is not a whole number")
    if isinstance(value, list | tuple) and types.is_list(kind):
        for item in value:
            _check_whole_numbers(item, kind.value_type, types)
    if isinstance(value, Mapping) and types.is_struct(kind):
        for column in kind:
            _check_whole_numbers(value.get(column.name), column.type, types)


def _shown(splits: Iterable[Split], on_error: OnError) -> Any:
    """Return the schema of the first rows, from splits that need no guess."""
    pyarrow = _pyarrow()
    splits = [split for split in splits if split.is_exact]
    sampling: OnError = "raise" if on_error == "raise" else "skip"
    sample = list(islice(chain.from_iterable(rows(split, on_error=sampling) for split in splits), _SAMPLE))
    types = {name: pyarrow.null() for row in sample for name in row}
    for name in types:
        try:
            types[name] = pyarrow.array([row.get(name) for row in sample]).type
        except Exception as error:
            reason = f"the first {len(sample)} frames show no one type for the column {name!r}: {error}"
            raise ArchiveError(f"{reason}; pass a schema", url=splits[0].source.url) from error
    # A column without a value so far is more often text than anything else.
    known = {name: pyarrow.string() if kind == pyarrow.null() else kind for name, kind in types.items()}
    known = known or {"offset": pyarrow.int64(), "size": pyarrow.int64(), "frame": pyarrow.binary()}
    if on_error == "column":
        known[ERROR] = pyarrow.string()
    return pyarrow.schema(known)


def _pyarrow() -> Any:
    try:
        import pyarrow  # noqa: PLC0415 - an extra
    except ImportError as error:
        raise ArchiveError('columns need pyarrow: pip install "framestream[arrow]"') from error
    return pyarrow
