"""A real Prometheus for tests, on a free port, with the configuration for one machine and pauses of a second."""

import contextlib
import json
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import yaml

from tests.platform_process import PROJECT, wait_until
from tests.servers import free_port, wait_for_port

CONFIGURATION = PROJECT / "observability" / "prometheus" / "prometheus.local.yml"


@dataclass
class Prometheus:
    """A running server."""

    url: str

    def query(self, expression: str) -> list[dict[str, Any]]:
        """Return the series of an instant query; AssertionError with what is wrong."""
        reply = httpx.post(f"{self.url}/api/v1/query", data={"query": expression}, timeout=30)
        assert reply.status_code == 200, f"{expression}\n{reply.text}"
        found: list[dict[str, Any]] = reply.json()["data"]["result"]
        return found

    def value(self, expression: str) -> float:
        """Return the value of the only series, 0 when there is none."""
        return max((float(one["value"][1]) for one in self.query(expression)), default=0.0)

    def get(self, path: str) -> Any:
        """Return the data of a GET request of its API."""
        return httpx.get(f"{self.url}/api/v1/{path}", timeout=30).json()["data"]


def missing() -> str | None:
    """Return why there can be no server, None when there can."""
    return (
        None if shutil.which("prometheus") else "prometheus is not installed; Debian and Ubuntu: apt install prometheus"
    )


@contextlib.contextmanager
def prometheus(folder: Path, scraped: Path) -> Iterator[Prometheus]:
    """Run a server that scrapes what the files in `scraped` name once a second, until the block ends."""
    folder.mkdir()
    with server(folder, _configured(folder, scraped)) as url:
        yield Prometheus(url)


@contextlib.contextmanager
def server(folder: Path, configuration: dict[str, Any], *options: str) -> Iterator[str]:
    """Run a server that is configured so until the block ends, and yield its address once it answers queries."""
    # JSON is YAML.
    (folder / "configuration.yml").write_text(json.dumps(configuration))
    port = free_port()
    command = [
        "prometheus",
        f"--config.file={folder / 'configuration.yml'}",
        f"--storage.tsdb.path={folder / 'data'}",
        f"--web.listen-address=127.0.0.1:{port}",
    ]
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen([*command, *options], stdout=log, stderr=subprocess.STDOUT)
    try:
        wait_for_port(port, process)
        # It listens before its database is open, and answers 503 until then.
        wait_until(lambda: httpx.get(f"http://127.0.0.1:{port}/-/ready").is_success, "Prometheus is ready", 60)
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait(timeout=20)


def _configured(folder: Path, scraped: Path) -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load(CONFIGURATION.read_text())
    found["global"] = {"scrape_interval": "1s", "scrape_timeout": "1s", "evaluation_interval": "2s"}
    found["rule_files"] = [_impatient(rules, folder) for rules in _rule_files(found["rule_files"])]
    (job,) = found["scrape_configs"]
    (files,) = job["file_sd_configs"]
    files.update(files=[str(scraped / "*.json")], refresh_interval="1s")
    return found


def _rule_files(patterns: list[str]) -> list[Path]:
    return [path for pattern in patterns for path in sorted(CONFIGURATION.parent.glob(pattern))]


def _impatient(rules: Path, folder: Path) -> str:
    """Return a copy in which no group takes its time."""
    found = yaml.safe_load(rules.read_text())
    for group in found["groups"]:
        group.pop("interval", None)
    copy = folder / rules.name
    copy.write_text(json.dumps(found))
    return str(copy)
