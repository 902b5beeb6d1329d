"""How busy the machine is with other processes than this one and those that it started and waited for."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass
from pathlib import Path

_STAT = Path("/proc/stat")


@dataclass(frozen=True)
class Busy:
    """The processor seconds that all processes, and this one with its children, have used by now."""

    at: float
    load: float | None  # the load average of a minute
    all: float | None  # None: the system does not show it
    own: float

    @classmethod
    def now(cls) -> Busy:
        """Return the counts of this moment."""
        times = os.times()
        own = times.user + times.system + times.children_user + times.children_system
        load = round(os.getloadavg()[0], 2) if hasattr(os, "getloadavg") else None
        return cls(time.monotonic(), load, _all_seconds(), own)

    def others_since(self, before: Busy) -> float | None:
        """Return the share of all cores, 0 to 1, that other processes used since."""
        if self.all is None or before.all is None or self.at <= before.at:
            return None
        used = (self.all - before.all) - (self.own - before.own)
        return max(used / ((self.at - before.at) * (os.cpu_count() or 1)), 0.0)


def _all_seconds() -> float | None:
    """Return the seconds in which a core was not idle, over all cores."""
    if not _STAT.exists():
        return None
    user, nice, system, _, _, irq, softirq, steal = map(int, _STAT.read_text().split()[1:9])
    return (user + nice + system + irq + softirq + steal) / os.sysconf("SC_CLK_TCK")
