"""Archives: files of frames, cut exactly and in parallel by any number of processes or machines.

::

    splits = plan("s3://logs/*.bin", "varint-prefix", size=64 << 20)
    for count in process(splits, count_frames, jobs=4): ...

A frame belongs to the split in which it begins, and the frames of all splits, in order, are those that
`framestream.iter_frames` gives for the whole file: the same values, offsets and error.
"""

from framestream.archives.archive import Archive, Repaired, append, make_index, repair, write
from framestream.archives.files import Index, open_source, open_sources
from framestream.archives.rows import Columns, Row, exact, rows
from framestream.archives.source import InMemory, Source
from framestream.archives.split import OnError, Reader, Record, Split, divide, plan
from framestream.archives.stitch import Process, Stitched, process, stitch
from framestream.errors import ArchiveError

__all__ = [
    "Archive",
    "ArchiveError",
    "Columns",
    "InMemory",
    "Index",
    "OnError",
    "Process",
    "Reader",
    "Record",
    "Repaired",
    "Row",
    "Source",
    "Split",
    "Stitched",
    "append",
    "divide",
    "exact",
    "make_index",
    "open_source",
    "open_sources",
    "plan",
    "process",
    "repair",
    "rows",
    "stitch",
    "write",
]
