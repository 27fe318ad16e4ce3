"""What figures have to be read with: the machine they come from."""

import platform
from typing import Any

import psutil


def describe_machine() -> dict[str, Any]:
    """Return what the machine is and how busy it is."""
    return {
        "cores": psutil.cpu_count(),
        "memory_gb": round(psutil.virtual_memory().total / 1e9),
        "python": platform.python_version(),
        "system": platform.system(),
        "load_average": psutil.getloadavg(),
    }
