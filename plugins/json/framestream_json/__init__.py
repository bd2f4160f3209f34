"""JSON for framestream: one text per line, RFC 7464 sequences, concatenated texts, elements of an array."""

from framestream_json._array import JsonArray
from framestream_json._concat import JsonConcat
from framestream_json._lines import JsonLines
from framestream_json._seq import JsonSeq
from framestream_json._text import JsonFramer

__all__ = ["JsonArray", "JsonConcat", "JsonFramer", "JsonLines", "JsonSeq"]
