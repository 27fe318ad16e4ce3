"""The commands of docs/tls.md make the certificates, start a platform that speaks mutual TLS, and are let in."""

import json
import os
import re
import shutil
import ssl
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import pytest

from tests.certificates import Authority
from tests.platform_process import PROJECT, RunningPlatform, rag, running_platform, wait_until

pytestmark = [pytest.mark.extended, pytest.mark.timeout(180)]
PAGE = (PROJECT / "docs" / "tls.md").read_text(encoding="utf-8")
SET_UP, USE = re.findall(r"```sh\n(.*?)```", PAGE, re.DOTALL)
GATEWAY = "https://127.0.0.1:8000"
COMMAND_SECONDS = 60
RENEW_SECONDS = 0.2


@dataclass
class Stand:
    """A platform that was started as the page says, and the folder with the page's files."""

    platform: RunningPlatform
    folder: Path

    @property
    def port(self) -> int:
        port = urlsplit(self.platform.url).port
        assert port is not None
        return port

    def trust(self, *, certificate: bool = True) -> ssl.SSLContext:
        context = ssl.create_default_context(cafile=self.folder / "ca.crt")
        if certificate:
            context.load_cert_chain(self.folder / "caller.crt", self.folder / "caller.key")
        return context

    def settings(self, *leave_out: str) -> dict[str, str]:
        """Return what the page exports for commands."""
        return {name: value for name, value in exported(self.folder).items() if name not in leave_out}


def exported(folder: Path) -> dict[str, str]:
    lines = [line for line in SET_UP.splitlines() if line.startswith("export ")]
    return {name: str(folder / file) for line in lines for name, file in re.findall(r"(RAG_\w+)=(\S+)", line)}


def given_to_up(folder: Path) -> dict[str, str]:
    command = SET_UP[SET_UP.rindex("export ") :].partition("\n")[2]
    assert command.rstrip().endswith("rag up")
    return {name: str(folder / file) for name, file in re.findall(r"(RAG_\w+)=(\S+)", command)}


@pytest.fixture(scope="module")
def stand(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stand]:
    folder = tmp_path_factory.mktemp("files")
    certificates = SET_UP[: SET_UP.index("export ")]
    made = subprocess.run(["bash", "-ec", certificates], cwd=folder, capture_output=True, text=True, check=False)
    assert made.returncode == 0, made.stderr
    settings = {**exported(folder), **given_to_up(folder), "RAG_GATEWAY_TLS_RENEW_SECONDS": str(RENEW_SECONDS)}
    with running_platform(tmp_path_factory.mktemp("data"), **settings) as platform:
        yield Stand(platform, folder)


def test_the_page_s_commands_are_let_in(stand: Stand) -> None:
    environment = {**os.environ, **stand.settings(), "NO_COLOR": "1", "RAG_DATA_DIR": str(stand.platform.data)}
    environment["PATH"] = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    commands = [line for line in USE.splitlines() if shutil.which(line.split()[0], path=environment["PATH"])]
    assert len(commands) >= 2
    for command in commands:
        done = subprocess.run(
            ["bash", "-c", command.replace(GATEWAY, stand.platform.url)],
            cwd=stand.folder,
            env=environment,
            capture_output=True,
            text=True,
            timeout=COMMAND_SECONDS,
            check=False,
        )
        assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"


def test_documents_come_in_and_answers_go_out_by_tls(stand: Stand, tmp_path: Path) -> None:
    (tmp_path / "harbour.md").write_text("The harbour of Lindby opened in 1887.")
    loaded = rag("ingest", str(tmp_path), url=stand.platform.url, settings=stand.settings())
    assert loaded.returncode == 0, loaded.stderr
    answer = rag("ask", "When did the harbour of Lindby open?", url=stand.platform.url, settings=stand.settings())
    assert "1887" in answer.stdout, answer.stderr


def test_the_platform_says_by_which_address_and_scheme_it_is_reached(stand: Stand) -> None:
    ready = stand.platform.ready
    assert ready["url"].startswith("https://127.0.0.1:")
    assert ready["nats_url"].startswith("tls://127.0.0.1:")
    targets = json.loads((stand.platform.data / "scrape" / "rag.json").read_text())
    schemes = {one["labels"]["instance"]: one["labels"].get("__scheme__", "http") for one in targets}
    assert {name for name, scheme in schemes.items() if scheme == "https"} == {"gateway"}


def test_browsers_are_told_to_stay_with_tls(stand: Stand) -> None:
    answer = httpx.get(f"{stand.platform.url}/health", verify=stand.trust())
    assert answer.status_code == 200
    assert "max-age" in answer.headers["strict-transport-security"]


def test_who_shows_no_certificate_is_not_let_in(stand: Stand) -> None:
    with pytest.raises(httpx.TransportError):
        httpx.get(f"{stand.platform.url}/health", verify=stand.trust(certificate=False))


@pytest.mark.parametrize(
    ("left_out", "named"),
    [
        (("RAG_TLS_CA",), "RAG_TLS_CA"),
        (("RAG_TLS_CERT", "RAG_TLS_KEY"), "RAG_TLS_CERT"),
        (("RAG_TLS_KEY",), "together"),
    ],
)
def test_a_command_says_which_setting_is_missing(stand: Stand, left_out: tuple[str, ...], named: str) -> None:
    done = rag("status", url=stand.platform.url, settings=stand.settings(*left_out))
    assert done.returncode != 0
    assert named in done.stderr


def test_a_command_that_speaks_http_is_told_of_https(stand: Stand) -> None:
    plain = stand.platform.url.replace("https:", "http:")
    done = rag("status", url=plain)
    assert done.returncode != 0
    assert "https" in done.stderr.replace("\n", " ")
    refused = rag("status", url=plain, settings=stand.settings())
    assert "RAG_TLS_CA is set, but RAG_URL does not begin with https://" in refused.stderr.replace("\n", " ")


def test_a_renewed_certificate_is_shown_by_the_running_gateway(stand: Stand, tmp_path: Path) -> None:
    """Runs last: from here on the gateway's certificate is of another authority."""
    other = Authority(tmp_path)
    renewed, pid = other.certificate("gateway"), stand.platform.ready["pids"]["gateway"]
    shutil.copy(renewed.cert, stand.folder / "gateway.crt")
    shutil.copy(renewed.key, stand.folder / "gateway.key")
    trust = other.client()
    trust.load_cert_chain(stand.folder / "caller.crt", stand.folder / "caller.key")

    def shown() -> bool:
        try:
            return httpx.get(f"{stand.platform.url}/ready", verify=trust).is_success
        except httpx.ConnectError:
            return False

    wait_until(shown, "the new certificate is shown", 20)
    assert pid in {process.pid for process in stand.platform.processes()}
