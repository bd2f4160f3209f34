"""Rows: frames as dictionaries and as Arrow record batches, for tools that work with columns.

A frame that is a mapping is a row, and its fields are columns. Any other frame is a row of three: `offset`,
`size` and `frame`, and so is a bad one. A mapping two of whose fields would be one column is a bad frame. Batches
need the extra "arrow".
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import chain, islice
from typing import Any, Final, TypeAlias

from framestream.archives.split import ON_ERROR, OnError, Record, Split
from framestream.archives.stitch import Map, stitch
from framestream.errors import ArchiveError, PayloadError, because, check_choice, counted, printable

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


class _BadFrames:
    """What becomes of the bad frames of a split: the first is raised, or they become rows, or they are counted."""

    def __init__(self, split: Split, on_error: OnError) -> None:
        check_choice("on_error", on_error, ON_ERROR)
        self._split, self._on_error = split, on_error
        self._count = 0
        self._first: Exception | None = None

    def meet(self, error: Exception) -> None:
        """Count a bad frame, or raise its error."""
        if self._on_error == "raise":
            raise error
        self._count += 1
        self._first = self._first or error

    def tell(self) -> None:
        """Log how many frames became no row."""
        if self._count and self._on_error == "skip":
            frames = counted(self._count, "bad frame")
            told = printable(f"{self._split.source.url}, the first: {self._first}")
            logger.warning("skipped %s of %s", frames, told)


def _pieces(split: Split) -> Iterator[tuple[int, int, list[Record]]]:
    """Yield the frames of a split in lists, each with the offsets between which it was read.

    Dictionaries are cut in batches, which takes half the time; they have no places, and need none.
    """
    reader = split.read()
    start = 0
    for frames, error in reader.pieces(in_batches=False):
        are_dicts = {*map(type, frames)} == {dict}
        if not reader.in_batches:
            start = reader.place[0]
            records = [Record(*reader.place, frames[0] if frames else None, error)]
        elif are_dicts:
            records = [Record(start, 0, frame) for frame in frames]
        else:
            records = _placed(split, start, reader.position)
        yield start, reader.position, records
        reader.in_batches = are_dicts
        start = reader.position


def _placed(split: Split, start: int, stop: int) -> list[Record]:
    """Read what is between two offsets again, each frame with its place."""
    return list(replace(split, start=start, first=start, stop=stop).records(on_error="column"))


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
    bad = _BadFrames(split, on_error)
    for start, stop, records in _pieces(split):
        placed: list[Record] = []
        for number, given in enumerate(records):
            record = given
            try:
                row = _row(record, on_error)
            except ValueError as cause:
                placed = placed or _placed(split, start, stop)  # once for all of them
                record = _bad(placed[number], split, str(cause), cause)
                row = _row(record, on_error)
            if record.error is not None:
                bad.meet(record.error)
            if record.error is None or on_error == "column":
                yield row
    bad.tell()


def _bad(record: Record, split: Split, reason: str, cause: Exception) -> Record:
    """Return a frame of which no row can be made as a bad one."""
    error = because(PayloadError(reason, offset=record.offset, framer=str(split.condition)), cause)
    error.source = split.source.url
    return Record(record.offset, record.size, None, error)


def _row(record: Record, on_error: OnError) -> Row:
    """Return the row of a frame.

    Raises:
        ValueError: two of its fields would be one column.
    """
    row = record.frame
    is_dict = type(row) is dict  # asking this first, and leaving such a row as it is, takes half the time
    if not (is_dict or isinstance(row, Mapping)):
        row = {"offset": record.offset, "size": record.size, "frame": row}
    elif not (is_dict and _TEXT.issuperset(map(type, row))):
        names = [_text(key) for key in row]
        row = dict(zip(names, row.values(), strict=True))
        if len(row) < len(names):
            raise ValueError(f"two of its fields are called {Counter(names).most_common(1)[0][0]!r}")
    if on_error == "column":
        if ERROR in row:
            raise ValueError(f"one of its fields is called {ERROR!r}, as is the column of errors")
        row = {**row, ERROR: None if record.error is None else str(record.error)}
    return row  # type: ignore[no-any-return]  # a row


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
        bad = _BadFrames(split, self.on_error)
        for start, stop, group in _groups(split):
            records = group
            try:
                batch = self._batch(records)
            except Exception:  # noqa: BLE001 - whatever pyarrow says of values: it is said again of one of them
                records = [self._judged(record, split) for record in _placed(split, start, stop)]
                batch = self._batch(records)
            for record in records:
                if record.error is not None:
                    bad.meet(record.error)
            for at in range(0, batch.num_rows, _MOST_ROWS):
                yield batch.slice(at, _MOST_ROWS)
        bad.tell()

    def table(self, split: Split) -> Any:
        """Return the frames of a split as a `pyarrow.Table`; see `batches`."""
        return _pyarrow().Table.from_batches(self.batches(split), self.schema)

    def _judged(self, record: Record, split: Split) -> Record:
        """Return a frame if it fits the columns; else it is a bad one."""
        try:
            self._batch([record])
        except Exception as cause:  # noqa: BLE001
            reason = f"it does not fit the columns {', '.join(self.schema.names)}: {cause}; pass a schema"
            return _bad(record, split, reason, cause)
        return record

    def _batch(self, records: list[Record]) -> Any:
        found = [self._row(record) for record in records if record.error is None or self.on_error == "column"]
        arrays = [_array([row.get(column.name) for row in found], column.type) for column in self.schema]
        return _pyarrow().RecordBatch.from_arrays(arrays, schema=self.schema)

    def _row(self, record: Record) -> Row:
        row = _row(record, self.on_error)
        if record.error is None:
            if not isinstance(record.frame, Mapping) and "frame" not in self.names:
                raise ValueError(f"the frame is of type {type(record.frame).__name__}, and no mapping")
            if self.are_all and not self.names.issuperset(row):
                raise ValueError(f"the frame has a field {min(row.keys() - self.names)!r}, too")
        return row


def _groups(split: Split) -> Iterator[tuple[int, int, list[Record]]]:
    """Yield the frames of a split in longer lists, as `_pieces` does."""
    group: list[Record] = []
    begin = end = 0
    for start, stop, records in _pieces(split):
        begin, end = begin if group else start, stop
        group += records
        # Frames of a few bytes take far more as objects.
        if len(group) >= _MOST_ROWS or end - begin >= _MOST_BYTES:
            yield begin, end, group
            group = []
    yield begin, end, group


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
