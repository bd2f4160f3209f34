"""Framed files on Spark: ``spark.read.format("framestream")``, ``spark.readStream``, and `read_frames`.

Spark finds `DefaultSource` by itself, by the name of this module, wherever the distribution is installed.
"""

from pyspark_framestream._frames import read_frames
from pyspark_framestream._source import DefaultSource

__all__ = ["DefaultSource", "read_frames"]
