"""Send a file: by the system from the page cache where it can, else piece by piece."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, BinaryIO

if TYPE_CHECKING:
    from framestream._core import StreamCore

_PIECE = 1 << 18


async def send_file(core: StreamCore, file: BinaryIO, offset: int, count: int | None) -> int:
    """Send `count` bytes of a file, or all of it from `offset` on; return how many were sent."""
    raise NotImplementedError
