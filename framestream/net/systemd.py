"""Report the state of a service to its manager: sd_notify(3), by datagrams only."""

from __future__ import annotations

import logging
import os
import socket
import time
from collections.abc import Mapping

from framestream.errors import describe_os_error, printable

log = logging.getLogger("framestream.server")


class ServiceManager:
    """The service manager that started this process, if it wants reports.

    Args:
        environment: has NOTIFY_SOCKET, and WATCHDOG_USEC and WATCHDOG_PID if it wants regular reports.

    Attributes:
        listens: whether there is one.
        watchdog_interval: seconds between two reports, half of what it allows; None if it wants none.
    """

    def __init__(self, environment: Mapping[str, str] = os.environ) -> None:
        path = environment.get("NOTIFY_SOCKET", "")
        self.listens = path[:1] in ("/", "@")
        # A name in the abstract namespace is written with @ for its first byte, which is zero.
        self._address = f"\0{path[1:]}" if path[:1] == "@" else path
        self.watchdog_interval: float | None = None
        limit = environment.get("WATCHDOG_USEC", "")
        is_meant = environment.get("WATCHDOG_PID", str(os.getpid())) == str(os.getpid())
        if self.listens and is_meant and limit.isdecimal() and int(limit):
            self.watchdog_interval = int(limit) / 2e6

    def tell(self, *assignments: str) -> None:
        """Send assignments such as ``READY=1`` if it listens; log errors. Never waits."""
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
                sock.setblocking(False)
                sock.sendto("\n".join(map(printable, assignments)).encode(), self._address)
        except OSError as error:
            log.warning("cannot tell the service manager: %s", describe_os_error(error))

    def tell_reloading(self) -> None:
        """Report that a reload begins; ``READY=1`` ends it."""
        self.tell("RELOADING=1", f"MONOTONIC_USEC={time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000}")
