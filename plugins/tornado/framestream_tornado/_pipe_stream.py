"""PipeIOStream: over one end of a pipe."""

from __future__ import annotations

import fcntl
import os
from typing import Any

from framestream import PipeChannel
from framestream_tornado._base import BaseIOStream


class PipeIOStream(BaseIOStream):
    """A stream over a file descriptor, such as one of `os.pipe`: for reading or for writing.

    Args:
        fd: belongs to the stream from here on.
        args, options: see `BaseIOStream`.
    """

    def __init__(self, fd: int, *args: Any, **options: Any) -> None:
        self.fd = fd
        mode = fcntl.fcntl(fd, fcntl.F_GETFL) & os.O_ACCMODE
        self.inner = PipeChannel(fd if mode != os.O_WRONLY else None, fd if mode != os.O_RDONLY else None)
        super().__init__(*args, **options)

    def fileno(self) -> int:
        """Return the descriptor."""
        return self.fd
