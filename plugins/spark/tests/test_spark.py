"""Framed files on Spark, and on Sail: the same rows as in one process, from everywhere, whatever dies."""

from __future__ import annotations

import json
import os
import shutil
import sys
from contextlib import contextmanager
from pathlib import Path
from unittest.mock import patch

import pytest

pytest.importorskip("pyspark", reason="pyspark is not installed")
pytest.importorskip("pyarrow", reason="pyarrow is not installed")
sys.path.insert(0, str(Path(__file__).parents[2] / "engine_kit"))

import pyarrow
from pyspark.sql import SparkSession
from pyspark_framestream import DefaultSource, read_frames

import engine_kit as kit
from framestream import LengthPrefix
from framestream.archives import ArchiveError

pytestmark = pytest.mark.filterwarnings("default")  # of the engine's own code
folder, store, spoilt = kit.folder, kit.store, kit.spoilt


@contextmanager
def sail():
    """Yield a session of Spark Connect with Sail, which needs no JVM and has to be told of the format."""
    pysail = pytest.importorskip("pysail.spark", reason="pysail is not installed")
    pytest.importorskip("pyspark.sql.connect.session", reason="pyspark[connect] is not installed", exc_type=ImportError)
    server = pysail.SparkConnectServer("127.0.0.1", 0)
    server.start(background=True)
    _, port = server.listening_address
    session = SparkSession.builder.remote(f"sc://127.0.0.1:{port}").getOrCreate()
    session.dataSource.register(DefaultSource)
    yield session
    session.stop()
    server.stop()


@contextmanager
def sail_cluster():
    """Yield a session of Sail with workers: threads of its own process, which repeat a task that failed."""
    with patch.dict(os.environ, SAIL_MODE="local-cluster"), sail() as session:
        yield session


@contextmanager
def jvm():
    """Yield a session in two threads of a JVM, which finds the data source by itself."""
    if shutil.which("java") is None:
        pytest.skip("Java is not installed")
    os.environ["PYSPARK_PYTHON"] = sys.executable
    os.environ["PYTHONPATH"] = os.path.dirname(kit.__file__)
    options = {
        "ui.enabled": "false",
        "driver.memory": "1g",
        "driver.bindAddress": "127.0.0.1",
        "driver.host": "127.0.0.1",
        "sql.shuffle.partitions": "2",
    }
    builder = SparkSession.builder.master("local[2,3]")
    for name, value in options.items():
        builder = builder.config(f"spark.{name}", value)
    session = builder.getOrCreate()
    session.sparkContext.setLogLevel("OFF")
    yield session
    session.stop()


@pytest.fixture(params=[sail, jvm], ids=["sail", "jvm"], scope="module")
def spark(request):
    with patch.dict(os.environ), request.param() as session:
        yield session


ON_SAIL = pytest.mark.parametrize("spark", [sail], ids=["sail"], indirect=True)
ON_A_JVM = pytest.mark.parametrize("spark", [jvm], ids=["jvm"], indirect=True)


def dicts(frame):
    return [row.asDict(recursive=True) for row in frame.collect()]


def load(spark, url, spec, **options):
    return spark.read.format("framestream").option("framer", spec).options(**options).load(str(url))


@pytest.mark.parametrize("case", kit.CASES)
def test_the_format_has_the_rows_of_the_archive(case, folder, spark, request):
    kind, url = kit.CASES[case]
    options = {name: json.dumps(value) for name, value in kit.options_for(case, request).items()}
    frame = load(spark, url.format(folder=folder), kit.SPECS[kind], size=kit.SIZE, **options)
    assert kit.expected(kind) == kit.in_order(dicts(frame))


@pytest.mark.parametrize("case", ["path", "binary", "s3-glob"])
def test_the_workers_find_the_borders(case, folder, spark, request):
    kind, url = kit.CASES[case]
    options = kit.options_for(case, request)
    frame = read_frames(spark, url.format(folder=folder), kit.SPECS[kind], size=kit.SIZE, **options)
    assert kit.expected(kind) == kit.in_order(dicts(frame))


@ON_A_JVM
@pytest.mark.parametrize("case", ["text", "s3-text"])
def test_a_killed_worker_changes_nothing(case, folder, spark, tmp_path, request):
    url = kit.CASES[case][1].format(folder=folder)
    options = kit.options_for(case, request)
    frame = read_frames(spark, url, kit.deadly(tmp_path / "killed"), size=kit.SIZE, **options)
    assert kit.expected("text") == kit.in_order(dicts(frame))
    assert (tmp_path / "killed").exists()


@pytest.mark.parametrize("spark", [sail_cluster], ids=["sail"], indirect=True)
@pytest.mark.parametrize("case", ["text", "s3-text"])
def test_a_task_that_dies_on_sail_changes_nothing(case, folder, spark, tmp_path, request):
    """Outside Kubernetes, Sail has no process that could be killed."""
    url = kit.CASES[case][1].format(folder=folder)
    options = kit.options_for(case, request)
    frame = read_frames(spark, url, kit.deadly(tmp_path / "dead", sys.exit), size=kit.SIZE, **options)
    assert kit.expected("text") == kit.in_order(dicts(frame))
    assert (tmp_path / "dead").exists()


def test_bad_frames_are_raised_skipped_or_told(spoilt, spark):
    with pytest.raises(Exception, match="offset 7500 of"):
        load(spark, spoilt, "line", parts=4).collect()
    assert 2500 == load(spark, spoilt, "line", parts=4, on_error="skip").count()
    rows = dicts(load(spark, spoilt, "line", parts=4, on_error="column"))
    [bad] = [row for row in rows if row["_error"]]
    assert (2501, 7500, None) == (len(rows), bad["offset"], bad["frame"])


def test_a_schema_chooses_columns(folder, spark):
    reader = spark.read.format("framestream").option("framer", "msgpack").schema("id int")
    frame = reader.load(str(folder / "msgpack.bin"))
    assert [{"n": sum(range(kit.FRAMES))}] == dicts(frame.selectExpr("sum(id) as n"))
    schema = pyarrow.schema({"id": pyarrow.int32()})
    frame = read_frames(spark, folder / "msgpack.bin", "msgpack", schema=schema)
    assert [{"id": 0}] == dicts(frame.limit(1))


@ON_SAIL
def test_what_is_missing_is_told(spark):
    with pytest.raises(Exception, match=r"option\(.framer., .line.\)"):
        spark.read.format("framestream").load("/missing").collect()
    with pytest.raises(Exception, match="missing"):
        load(spark, "/missing/*.bin", "line").collect()
    with pytest.raises(Exception, match="on_error is 'ignore'"):
        load(spark, __file__, "line", on_error="ignore").collect()


class Query:
    """A stream of lines into memory, which goes on from its checkpoint each time it is run."""

    def __init__(self, session, url, folder, **options):
        self.session, self.url, self.folder, self.options = session, url, folder, options

    def run(self):
        rows = []

        def take(batch, number):
            rows.extend(row.frame for row in batch.collect())

        stream = self.session.readStream.format("framestream").option("framer", "line").options(**self.options)
        query = (
            stream.load(str(self.url))
            .writeStream.foreachBatch(take)
            .option("checkpointLocation", str(self.folder / "checkpoint"))
            .trigger(availableNow=True)
            .start()
        )
        query.awaitTermination()
        return rows


@ON_A_JVM
def test_a_growing_file_is_read_by_offsets(spark, tmp_path):
    log = tmp_path / "log"
    log.write_bytes(b"one\ntwo\nthr")
    query = Query(spark, tmp_path / "log*", tmp_path)
    assert ["one", "two"] == query.run()
    assert [] == query.run()
    with log.open("ab") as file:
        file.write(b"ee\n" + b"more\n" * 2000)
    (tmp_path / "log-2").write_bytes(b"another\n")
    assert sorted(["three", *["more"] * 2000, "another"]) == sorted(query.run())
    log.write_bytes(b"short\n")
    with pytest.raises(Exception, match="10014 were read"):
        query.run()


@pytest.mark.parametrize("spec", ["length-prefix:format=varint", "line"])
def test_a_stream_is_divided_at_borders_of_frames(spec, folder):
    kind = "text" if spec == "line" else "binary"
    source = DefaultSource({"path": str(folder / f"{kind}.bin"), "framer": spec, "size": "60000"})
    reader = source.streamReader(source.schema())
    start = reader.initialOffset()
    end = reader.latestOffset(start)
    parts = reader.partitions(start, end)
    assert len(parts) > 2
    assert [] == reader.partitions(end, end)
    rows = [row for part in parts for batch in reader.read(part) for row in batch.to_pylist()]
    assert kit.expected(kind) == rows
    # After a restart nothing is known but the offsets.
    again = source.streamReader(source.schema()).partitions(start, end)
    assert [(0, end[parts[0].value.source.url])] == [(part.value.start, part.value.stop) for part in again]


def test_a_stream_reads_what_comes_before_broken_framing(tmp_path):
    log = tmp_path / "log"
    log.write_bytes(b"\1a\1b" + b"\xff" * 20)
    source = DefaultSource({"path": str(log), "framer": "length-prefix:format=varint"})
    reader = source.streamReader(pyarrow.schema({"frame": pyarrow.binary()}))
    offset = reader.latestOffset({})
    assert {str(log): 4} == offset
    with pytest.raises(Exception, match="offset 13 of"):
        reader.latestOffset(offset)
    with pytest.raises(ArchiveError, match="24 bytes long, and 99 were read"):
        reader.latestOffset({str(log): 99})
    with pytest.raises(ArchiveError, match="/gone: it is gone"):
        reader.partitions({}, {"/gone": 9})


def test_a_stream_is_not_divided_inside_a_frame_that_is_too_large(tmp_path):
    log = tmp_path / "log"
    framer = LengthPrefix(4)
    data = b"".join(piece for frame in (b"a", bytes(200_000), b"b", b"c") for piece in framer.encode(frame))
    options = {"framer": str(framer), "size": "1000", "max_frame_size": "1000", "on_error": "skip"}
    reader = DefaultSource({"path": str(log)} | options).streamReader(pyarrow.schema({"frame": pyarrow.binary()}))
    offset, read = reader.initialOffset(), []
    for arrived in (100_000, 150_000, len(data)):
        log.write_bytes(data[:arrived])
        start, offset = offset, reader.latestOffset(offset)
        parts = reader.partitions(start, offset)
        read.append([row["frame"] for part in parts for batch in reader.read(part) for row in batch.to_pylist()])
    assert [[b"a"], [], [b"b", b"c"]] == read
