"""How many threads compiled code uses."""

from __future__ import annotations

import os

from ..config import EPOCH, SETTINGS
from ..errors import ArgumentError, ArgumentTypeError

MOST_THREADS = 1024
_GROUPS = "/sys/fs/cgroup"


def set_num_threads(count: int) -> None:
    """Let compiled functions use `count` threads, the calling one included, from now on.

    The number changes how long a step takes, never its bits, and nothing is compiled again. More
    threads than there are cores are allowed, and slower.

    Args:
        count: 1 to 1024. The default is what ``COTANGENT_NUM_THREADS`` says, else the number of
            cores that this process may use: its affinity, the quota of its control group, rounded
            down, and ``OMP_NUM_THREADS``, which joblib sets in its worker processes.

    Raises:
        ArgumentTypeError: if `count` is not an int.
        ArgumentError: if it is out of range.

    >>> before = get_num_threads()
    >>> set_num_threads(2)
    >>> get_num_threads()
    2
    >>> set_num_threads(before)
    """
    if isinstance(count, bool) or not hasattr(count, "__index__"):
        raise ArgumentTypeError(
            f"set_num_threads: count must be an int, not {type(count).__name__}"
        )
    SETTINGS.threads = _checked(int(count.__index__()), "set_num_threads: count")
    EPOCH.bump()


def get_num_threads() -> int:
    """How many threads compiled functions use, the calling one included.

    Raises:
        ArgumentError: if ``COTANGENT_NUM_THREADS`` decides and is not a number from 1 to 1024.

    >>> get_num_threads() >= 1
    True
    """
    if SETTINGS.threads is None:
        text = os.environ.get("COTANGENT_NUM_THREADS", "").strip()
        if text and not text.isdecimal():
            raise ArgumentError(f"COTANGENT_NUM_THREADS must be 1 to {MOST_THREADS}, not {text!r}")
        SETTINGS.threads = _checked(int(text), "COTANGENT_NUM_THREADS") if text else usable_cores()
    return SETTINGS.threads


def _checked(count: int, what: str) -> int:
    if not 1 <= count <= MOST_THREADS:
        raise ArgumentError(f"{what} must be 1 to {MOST_THREADS}, not {count}")
    return count


def usable_cores() -> int:
    """The cores that this process may use: affinity, the quota of its control group, and what
    ``OMP_NUM_THREADS`` allows numeric libraries (its first number; anything else is ignored, as the
    variable is not ours).

    >>> usable_cores() >= 1
    True
    """
    if hasattr(os, "sched_getaffinity"):
        cores = len(os.sched_getaffinity(0))
    else:
        cores = os.cpu_count() or 1
    quota = quota_of(_read("/proc/self/cgroup") or "", _GROUPS)
    allowed = os.environ.get("OMP_NUM_THREADS", "").partition(",")[0].strip()
    limits = [int(quota)] if quota else []
    if allowed.isdecimal() and int(allowed):
        limits.append(int(allowed))
    return max(1, min(cores, MOST_THREADS, *limits))


def quota_of(membership: str, root: str) -> float | None:
    """The least quota, in cores, of a control group and those around it; None without one.

    Args:
        membership: the content of ``/proc/self/cgroup``: lines of number, controllers and path.
        root: where control groups are mounted.

    Source: cgroups(7); version 2 has ``cpu.max``, version 1 the two files ``cpu.cfs_*_us``.
    """
    found = []
    for line in membership.splitlines():
        number, _, rest = line.partition(":")
        controllers, _, path = rest.partition(":")
        if number == "0" and not controllers:
            mounts, reader = [root], _quota_v2
        elif "cpu" in controllers.split(","):
            mounts, reader = [f"{root}/cpu", f"{root}/{controllers}"], _quota_v1
        else:
            continue
        found += [reader(place) for mount in mounts for place in _upwards(mount, path)]
    return min((quota for quota in found if quota is not None), default=None)


def _upwards(mount: str, path: str) -> list[str]:
    """The folder of a group, and of those around it. In a container the path may be one that only
    the host can see; then the mount itself is the group."""
    parts = [part for part in path.split("/") if part and part != ".."]
    return ["/".join([mount, *parts[:n]]) for n in range(len(parts), -1, -1)]


def _quota_v2(place: str) -> float | None:
    quota, _, period = (_read(f"{place}/cpu.max") or "max").partition(" ")
    return _ratio(quota, period)


def _quota_v1(place: str) -> float | None:
    quota = _read(f"{place}/cpu.cfs_quota_us") or "-1"
    return _ratio(quota, _read(f"{place}/cpu.cfs_period_us") or "")


def _ratio(quota: str, period: str) -> float | None:
    """Cores, if both are positive numbers: "max" and -1 stand for no quota."""
    if not quota.strip().isdecimal() or not period.strip().isdecimal() or not int(period):
        return None
    return int(quota) / int(period) or None


def _read(path: str) -> str | None:
    try:
        with open(path, encoding="ascii", errors="replace") as file:
            return file.read()
    except OSError:
        return None
