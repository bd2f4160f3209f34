"""Rows and columns: what engines get of an archive, and what becomes of frames that fit no columns."""

from __future__ import annotations

import json
import logging
import pickle
from cProfile import Profile
from functools import partial
from types import MappingProxyType

import msgpack
import pytest
from cutting import refused

from framestream import Line, Mapped, Msgpack, PayloadError
from framestream.archives import ArchiveError, Columns, InMemory, Split, divide, exact, rows

pyarrow = pytest.importorskip("pyarrow", reason="frames become columns by pyarrow")

JSON = Mapped(Line(), json.loads)


def whole(data, framer):
    return Split(InMemory(data), framer, 0, len(data))


def packed(*frames):
    return b"".join(map(msgpack.packb, frames))


def lines(*frames):
    return "".join(json.dumps(frame) + "\n" for frame in frames).encode()


def test_a_mapping_is_a_row_and_another_frame_gets_its_place():
    assert [{"a": 1, "b": None}] == list(rows(whole(packed({"a": 1, "b": None}), Msgpack())))
    for mapping, row in (({1: 2, b"k": 3}, {"1": 2, "k": 3}), (MappingProxyType({"a": 1}), {"a": 1})):
        [got] = rows(whole(b".\n", Mapped(Line(), lambda _, mapping=mapping: mapping)))
        assert (dict, row) == (type(got), got)
    expected = [{"offset": 0, "size": 3, "frame": "ab"}, {"offset": 3, "size": 2, "frame": "c"}]
    assert expected == list(rows(whole(b"ab\nc\n", Line())))


def test_bad_frames_are_raised_or_skipped_and_counted_or_become_rows(caplog):
    split = whole(b"a\n\xff\nb\n\xfe\n", Line())
    refused(PayloadError, list, rows(split), match="offset 2 of memory")
    with caplog.at_level(logging.WARNING):
        assert ["a", "b"] == [row["frame"] for row in rows(split, on_error="skip")]
    assert "skipped 2 bad frames of memory, the first: " in caplog.text
    assert "offset 2 of" in caplog.text
    told = list(rows(split, on_error="column"))
    assert [None, True, None, True] == [row["_error"] and "offset" in row["_error"] for row in told]
    assert [0, 2, 4, 6] == [row["offset"] for row in told]


def test_frames_that_make_no_row_take_time_in_proportion():
    calls = []
    for size in (100, 200):
        split = whole(packed(*[{"a": 1, "_error": 2}] * size), Msgpack())
        with Profile() as profile:
            assert all(row["_error"] for row in rows(split, on_error="column"))
        calls.append(sum(entry.callcount for entry in profile.getstats()))
    assert calls[1] < 2.2 * calls[0]


def test_the_names_of_fields_are_compared_a_few_times_each():
    compared = []

    class Name(str):
        __slots__ = ()
        __hash__ = str.__hash__

        def __eq__(self, other):
            compared.append(other)
            return str.__eq__(self, other)

    class Key:
        def __init__(self, name):
            self.name = Name(name)

        def __str__(self):
            return self.name

    keys = [*map(Key, map(str, range(300))), Key("7")]
    split = whole(b"odd\n", Mapped(Line(), lambda _: dict.fromkeys(keys)))
    refused(PayloadError, list, rows(split), match="two of its fields are called '7'")
    assert len(compared) < 3 * len(keys)


@pytest.mark.parametrize(("odd", "ways", "told"), [
    ({1: "a", "1": "b"}, ("raise", "skip", "column"), "two of its fields are called '1'"),
    ({b"k": "a", "x": 5, "k": "b"}, ("raise", "skip", "column"), "two of its fields are called 'k'"),
    ({"_error": "mine"}, ("column",), "one of its fields is called '_error', as is the column of errors"),
])  # fmt: skip
def test_a_frame_two_of_whose_fields_would_be_one_column_is_a_bad_frame(odd, ways, told):
    split = whole(b"good\nodd\ngood\n", Mapped(Line(), lambda line: odd if line == "odd" else {"a": line}))
    for on_error in ("raise", "skip", "column"):
        read = lambda on_error=on_error: [row.get("a") for row in rows(split, on_error=on_error)]  # noqa: E731
        if on_error not in ways:
            assert odd in list(rows(split, on_error=on_error))
        elif on_error == "raise":
            assert isinstance(refused(PayloadError, read, match=f"{told}.*offset 5 of memory").__cause__, ValueError)
        else:
            assert read() == ["good", *[None] * (on_error == "column"), "good"]
    if "column" in ways:
        bad = list(rows(split, on_error="column"))[1]
        assert (bad["offset"], bad["size"], bad["frame"], told in bad["_error"]) == (5, 4, None, True)
        schema = pyarrow.schema({"a": pyarrow.string()})
        assert told in split.to_arrow(schema, on_error="column").to_pylist()[1]["_error"]


def test_a_misspelt_choice_is_refused_and_skips_nothing():
    split = whole(b"a\n\xff\n", Line())
    schema = pyarrow.schema({"frame": pyarrow.string()})
    for read in (split.frames, split.records, partial(rows, split), partial(split.to_arrow, schema)):
        with pytest.raises(ValueError, match="on_error is 'Raise'; it must be one of raise, skip, column"):
            list(read(on_error="Raise"))
    with pytest.raises(ValueError, match="on_error is 'Raise'"):  # before it is sent anywhere
        Columns.of([split], schema, on_error="Raise")


@pytest.mark.parametrize("on_error", ["skip", "column"])
def test_a_row_does_not_depend_on_the_frames_around_it(on_error):
    kinds = [{"a": 1}] * 50 + [5] + [{"a": 2}] * 50 + ["text"] * 3 + [{"a": 3}]
    source = InMemory(lines(*kinds[:20]) + b"bad\n" + lines(*kinds[20:]) + b"bad\n")
    one = [row for part in divide(source, JSON, source.size) for row in rows(part, on_error=on_error)]
    assert len(kinds) + 2 * (on_error == "column") == len(one)
    for size in (10, 100, 300):
        parts = divide(source, JSON, size)
        assert one == [row for part in parts for row in rows(part, on_error=on_error)]


def test_only_splits_that_need_it_are_stitched():
    source = InMemory(packed(*range(1000)))
    asked = []

    def tasks(function, splits):
        asked.extend(splits)
        return map(function, asked)

    parts = exact(divide(source, Msgpack(), 100), map=tasks)
    assert len(asked) == len(parts) > 10
    assert list(range(1000)) == [row["frame"] for part in parts for row in rows(part)]
    assert parts == exact(parts, map=pytest.fail)
    refused(ValueError, exact, [], match="no file was given")


@pytest.mark.parametrize(("data", "framer", "expected"), [
    (packed({"a": 1}, {"b": "x", "c": None}), Msgpack(), {"a": "int64", "b": "string", "c": "string"}),
    (packed({"a": [1, 2.5]}), Msgpack(), {"a": "list<item: double>"}),
    (b"text\n", Line(), {"offset": "int64", "size": "int64", "frame": "string"}),
    (b"", Line(), {"offset": "int64", "size": "int64", "frame": "binary"}),
])  # fmt: skip
def test_the_first_frames_show_the_columns(data, framer, expected):
    table = whole(data, framer).to_arrow()
    assert expected == {field.name: str(field.type) for field in table.schema}
    told = Columns.of([whole(data, framer)], on_error="column").schema
    assert [*expected, "_error"] == told.names


def test_splits_that_need_a_guess_show_no_columns():
    parts = list(divide(InMemory(packed({"a": 1}) * 100), Msgpack(), 100))
    assert not all(split.is_exact for split in parts)
    assert ["a"] == Columns.of(parts).schema.names


def test_frames_without_a_common_type_are_refused_with_what_to_do():
    reason = r"memory: the first 2 frames show no one type .* 'a'.*pass a schema"
    refused(ArchiveError, whole(lines({"a": 1}, {"a": "x"}), JSON).to_arrow, match=reason)


@pytest.mark.parametrize("odd", [{"a": "x"}, {"a": 1 << 70}, {"a": 1, "b": 2}, [1], {"a": 1.5}], ids=repr)
def test_a_frame_that_does_not_fit_the_columns_is_a_bad_frame(odd, caplog):
    good = [{"a": number} for number in range(1000)]
    split = whole(lines(*good, odd, {"a": 7}), JSON)
    refused(PayloadError, split.to_arrow, match=rf"columns a: .*offset {len(lines(*good))} of memory")
    with caplog.at_level(logging.WARNING):
        assert [*good, {"a": 7}] == split.to_arrow(on_error="skip").to_pylist()
    assert "skipped 1 bad frame of memory" in caplog.text
    [told] = [row for row in split.to_arrow(on_error="column").to_pylist() if row["_error"]]
    assert told["a"] is None


def test_nested_numbers_are_not_truncated():
    for shown, odd in (([1], [1.5]), ({"x": 1}, {"x": 1.5}), ([{"x": 1}], [{"x": 1.5, "y": 0}])):
        split = whole(lines(*[{"a": shown}] * 1000, {"a": None}, {"a": odd}), JSON)
        refused(PayloadError, split.to_arrow, match=r"1\.5 is not a whole number")
        assert [{"a": shown}] * 1000 + [{"a": None}] == split.to_arrow(on_error="skip").to_pylist()


def test_a_schema_says_which_columns_are_wanted():
    schema = pyarrow.schema({"b": pyarrow.int8(), "z": pyarrow.string()})
    split = whole(packed({"a": 1, "b": 2}, {"b": 3, "z": "z"}), Msgpack())
    assert [{"b": 2, "z": None}, {"b": 3, "z": "z"}] == split.to_arrow(schema).to_pylist()
    assert ["b", "z", "_error"] == split.to_arrow(schema, on_error="column").schema.names
    refused(PayloadError, whole(packed(5), Msgpack()).to_arrow, schema, match="of type int, and no mapping")


def test_batches_are_bounded_and_columns_can_be_sent_to_other_processes():
    split = whole(b"line\n" * 20_000 + (b"x" * 999_999 + b"\n") * 9, Line())
    columns = pickle.loads(pickle.dumps(Columns.of([split])))
    batches = list(columns.batches(split))
    assert 20_009 == sum(batch.num_rows for batch in batches)
    assert max(batch.num_rows for batch in batches) == 8192
    assert max(batch.nbytes for batch in batches) < 6 << 20
    data = packed({"a": 1}) * 50_000
    [split] = divide(InMemory(data, step=1 << 20), Msgpack(), 1 << 20)
    assert max(batch.num_rows for batch in Columns.of([split]).batches(split)) == 8192
