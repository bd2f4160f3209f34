"""Put the stand-in in its place before any test imports Tornado."""

from __future__ import annotations

import sys
from pathlib import Path

import framestream_tornado

sys.path.insert(0, str(Path(__file__).parent))
framestream_tornado.install()
