"""Framed files on Dask: the same rows as in one process, from everywhere, whatever dies."""

from __future__ import annotations

import logging
import sys
from pathlib import Path

import pytest

pytest.importorskip("dask.dataframe", reason="dask[bag,dataframe] is not installed")
distributed = pytest.importorskip("distributed", reason="distributed is not installed")
pytest.importorskip("pyarrow", reason="pyarrow is not installed")
sys.path.insert(0, str(Path(__file__).parents[2] / "engine_kit"))

import fsspec  # noqa: E402
import pyarrow  # noqa: E402

import dask  # noqa: E402
import engine_kit as kit  # noqa: E402
from framestream import PayloadError  # noqa: E402
from framestream.archives import ArchiveError, plan  # noqa: E402
from framestream_dask import read_dataframe, read_frames  # noqa: E402

pytestmark = pytest.mark.filterwarnings("default")  # of the engine's own code
folder, store, spoilt = kit.folder, kit.store, kit.spoilt


@pytest.fixture(scope="module")
def client():
    with (
        distributed.LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=None) as cluster,
        distributed.Client(cluster) as client,
    ):
        yield client


@pytest.fixture
def here():
    with dask.config.set(scheduler="sync"):
        yield


@pytest.mark.parametrize("case", kit.CASES)
def test_a_bag_has_the_rows_of_the_archive_in_their_order(case, folder, client, request):
    kind, url = kit.CASES[case]
    options = kit.options_for(case, request)
    bag = read_frames(url.format(folder=folder), kit.SPECS[kind], size=kit.SIZE, **options)
    assert bag.npartitions > 2
    assert kit.expected(kind) == bag.compute()


@pytest.mark.parametrize("case", kit.CASES)
def test_a_dataframe_has_the_same_rows_with_their_types(case, folder, client, request):
    kind, url = kit.CASES[case]
    options = kit.options_for(case, request)
    frame = read_dataframe(url.format(folder=folder), kit.SPECS[kind], size=kit.SIZE, **options)
    computed = frame.compute()
    assert dict(frame.dtypes) == dict(computed.dtypes)
    assert kit.expected(kind) == pyarrow.Table.from_pandas(computed, preserve_index=False).to_pylist()


@pytest.mark.parametrize("case", ["text", "s3-text"])
def test_a_killed_worker_changes_nothing(case, folder, client, tmp_path, request):
    url = kit.CASES[case][1].format(folder=folder)
    options = kit.options_for(case, request)
    before = {worker["pid"] for worker in client.run(lambda: {"pid": __import__("os").getpid()}).values()}
    bag = read_frames(url, kit.deadly(tmp_path / "killed"), size=kit.SIZE, **options)
    assert kit.expected("text") == bag.compute()
    assert (tmp_path / "killed").exists()
    client.wait_for_workers(2)
    assert before != {w["pid"] for w in client.run(lambda: {"pid": __import__("os").getpid()}).values()}


def test_bad_frames_are_raised_skipped_and_counted_or_told(spoilt, here, caplog):
    with pytest.raises(PayloadError, match="offset 7500 of"):
        read_frames(spoilt, "line", parts=4).compute()
    with caplog.at_level(logging.WARNING):
        assert 2500 == read_frames(spoilt, "line", parts=4, on_error="skip").count().compute()
    assert f"skipped 1 bad frame of {spoilt}" in caplog.text
    rows = read_frames(spoilt, "line", parts=4, on_error="column")
    assert 2501 == rows.count().compute()
    [bad] = rows.filter(lambda row: row["_error"]).compute()
    assert (7500, None) == (bad["offset"], bad["frame"])
    frame = read_dataframe(spoilt, "line", parts=4, on_error="column")
    assert 1 == frame._error.count().compute()
    assert 2500 == len(read_dataframe(spoilt, "line", parts=4, on_error="skip"))


def test_a_schema_chooses_columns(folder, here):
    schema = pyarrow.schema({"id": pyarrow.int32()})
    frame = read_dataframe(folder / "msgpack.bin", "msgpack", schema=schema)
    assert ["id"] == list(frame.columns)
    assert sum(range(kit.FRAMES)) == frame.id.sum().compute()


def test_a_missing_file_is_told_at_once(here):
    with pytest.raises(ArchiveError, match="missing"):
        read_frames("/missing/*.bin", "line")


def test_a_replaced_object_is_told_and_read_no_further(here, store):
    objects = fsspec.filesystem("s3", **store)
    objects.pipe_file("archives/replaced", b"old\n" * (5 << 20))
    frames = plan("s3://archives/replaced", "line", parts=1, storage_options=store)[0].frames()
    seen = {next(frames)}
    objects.pipe_file("archives/replaced", b"new\n" * (5 << 20))
    with pytest.raises(ArchiveError, match="s3://archives/replaced: it has changed since it was planned"):
        seen.update(frames)
    assert {"old"} == seen
