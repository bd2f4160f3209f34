"""Framed files on Ray: the same rows as in one process, from everywhere, whatever dies."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

ray = pytest.importorskip("ray", reason="ray[data] is not installed")
pytest.importorskip("ray.data", reason="ray[data] is not installed")
sys.path.insert(0, str(Path(__file__).parents[2] / "engine_kit"))

import pyarrow  # noqa: E402

import engine_kit as kit  # noqa: E402
from framestream.archives import ArchiveError  # noqa: E402
from framestream_ray import Frames, read_frames  # noqa: E402

pytestmark = pytest.mark.filterwarnings("default")  # of the engine's own code
folder, store, spoilt = kit.folder, kit.store, kit.spoilt


@pytest.fixture(scope="module", autouse=True)
def cluster():
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", os.path.dirname(kit.__file__))
        patch.setenv("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
        ray.init(
            num_cpus=2,
            object_store_memory=200_000_000,
            include_dashboard=False,
            log_to_driver=False,
            logging_level="error",
        )
        ray.data.DataContext.get_current().enable_progress_bars = False
        yield
        ray.shutdown()


@pytest.mark.parametrize("case", kit.CASES)
def test_a_dataset_has_the_rows_of_the_archive(case, folder, request):
    kind, url = kit.CASES[case]
    options = kit.options_for(case, request)
    dataset = read_frames(url.format(folder=folder), kit.SPECS[kind], size=kit.SIZE, **options)
    assert kit.expected(kind) == kit.in_order(dataset.take_all())


@pytest.mark.parametrize("case", ["text", "s3-text"])
def test_a_killed_worker_changes_nothing(case, folder, tmp_path, request):
    url = kit.CASES[case][1].format(folder=folder)
    options = kit.options_for(case, request)
    dataset = read_frames(url, kit.deadly(tmp_path / "killed"), size=kit.SIZE, **options)
    assert kit.expected("text") == kit.in_order(dataset.take_all())
    assert (tmp_path / "killed").exists()


def test_bad_frames_are_raised_skipped_or_told(spoilt):
    with pytest.raises(Exception, match="offset 7500 of"):
        read_frames(spoilt, "line", parts=4).take_all()
    assert 2500 == read_frames(spoilt, "line", parts=4, on_error="skip").count()
    rows = read_frames(spoilt, "line", parts=4, on_error="column").take_all()
    [bad] = [row for row in rows if row["_error"]]
    assert (2501, 7500, None) == (len(rows), bad["offset"], bad["frame"])


def test_a_schema_chooses_columns(folder):
    dataset = read_frames(folder / "msgpack.bin", "msgpack", schema=pyarrow.schema({"id": pyarrow.int32()}))
    assert ["id"] == dataset.columns()
    assert sum(range(kit.FRAMES)) == dataset.sum("id")


@pytest.mark.parametrize(("parallelism", "tasks"), [(1, 1), (3, 3), (200, 10)])
def test_there_are_no_more_tasks_than_asked_for(parallelism, tasks, folder):
    source = Frames(folder / "text.bin", "line", parts=10)
    made = source.get_read_tasks(parallelism)
    assert tasks == len(made)
    rows = [row for task in made for block in task() for row in block.to_pylist()]
    assert kit.expected("text") == rows
    assert os.path.getsize(folder / "text.bin") == source.estimate_inmemory_data_size()
    [first] = source.get_read_tasks(1, per_task_row_limit=5)
    assert 5 == sum(block.num_rows for block in first())


def test_a_missing_file_is_told_at_once():
    with pytest.raises(ArchiveError, match="missing"):
        read_frames("/missing/*.bin", "line")
