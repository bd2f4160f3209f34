"""Formats of archives for framestream: TFRecord, WARC, pcapng, systemd's journal export."""

from framestream_records._journal import JournalExport
from framestream_records._pcapng import Block, Pcapng
from framestream_records._tfrecord import TFRecord
from framestream_records._warc import Warc, WarcRecord

__all__ = ["Block", "JournalExport", "Pcapng", "TFRecord", "Warc", "WarcRecord"]
