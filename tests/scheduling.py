"""Which tests may run at the same time: a file is never split, and whole platforms run one after the other.

A platform is nine processes: two that start at once on two cores make each other late, and all that runs beside them.
"""

from typing import Final

from xdist.scheduler import LoadFileScheduling  # type: ignore[import-untyped]

# Folders whose tests start platforms; they also share one, which every further worker would have to start as well.
ONE_AT_A_TIME: Final = tuple(f"tests/{folder}/" for folder in ("chaos", "console", "e2e", "observability", "telemetry"))


class PlatformScheduling(LoadFileScheduling):  # type: ignore[misc]
    """Gives a file to one worker, and all files that start platforms to the same one."""

    def _split_scope(self, nodeid: str) -> str:
        return scope_of(nodeid)


def scope_of(nodeid: str) -> str:
    """Return what a test stays together with."""
    file = nodeid.split("::", 1)[0]
    return "platforms" if file.startswith(ONE_AT_A_TIME) else file
