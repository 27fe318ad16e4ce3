"""The gateway's certificate: shown to new connections, renewed while it runs, and never half."""

import asyncio
import shutil
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from services.gateway.server_tls import ServerTLS, server_tls
from services.gateway.settings import GatewaySettings
from shared.errors import Misconfigured
from tests.captured_logs import captured_lines, lines_of
from tests.certificates import Authority, Certificate
from tests.running import eventually


@dataclass
class Files:
    """Where the gateway's files lie, to be replaced."""

    folder: Path

    @property
    def cert(self) -> Path:
        return self.folder / "tls.crt"

    @property
    def key(self) -> Path:
        return self.folder / "tls.key"

    @property
    def clients(self) -> Path:
        return self.folder / "clients.crt"

    def put(self, own: Certificate) -> None:
        shutil.copy(own.cert, self.cert)
        shutil.copy(own.key, self.key)


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path / "authority")


@pytest.fixture
def files(tmp_path: Path, authority: Authority) -> Files:
    folder = tmp_path / "mounted"
    folder.mkdir()
    found = Files(folder)
    found.put(authority.certificate("first"))
    return found


async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while line := await reader.readline():
        writer.write(line)
        await writer.drain()
    writer.close()


@asynccontextmanager
async def listening(tls: ServerTLS) -> AsyncIterator[int]:
    """Serve lines as they come, with the certificate of that moment; yields the port."""
    server = await asyncio.start_server(echo, "127.0.0.1", 0, ssl=tls.context)
    asyncio.get_running_loop().set_exception_handler(lambda _loop, _context: None)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()


@asynccontextmanager
async def connected(
    port: int, trust: ssl.SSLContext
) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    reader, writer = await asyncio.open_connection("127.0.0.1", port, ssl=trust)
    try:
        yield reader, writer
    finally:
        writer.transport.abort()


async def serial(port: int, trust: ssl.SSLContext) -> str:
    """Connect, exchange a line, and return the serial number of the certificate that was shown."""
    async with connected(port, trust) as (reader, writer):
        writer.write(b"hello\n")
        assert await asyncio.wait_for(reader.readline(), 5) == b"hello\n"
        return str(writer.get_extra_info("peercert")["serialNumber"])


async def test_a_renewed_certificate_is_shown_without_a_restart_and_open_connections_go_on(
    files: Files, authority: Authority
) -> None:
    """INVARIANT: nobody has to restart a gateway for its certificate. Else it expires while nobody looks."""
    tls = ServerTLS(files.cert, files.key, renew_seconds=0.02)
    watching = asyncio.create_task(tls.keep_renewed())
    async with listening(tls) as port, connected(port, authority.client()) as (reader, writer):
        before = await serial(port, authority.client())
        files.put(authority.certificate("second"))

        async def renewed() -> bool:
            return await serial(port, authority.client()) != before

        await eventually(renewed, "the new certificate is shown")
        writer.write(b"still here\n")
        assert await asyncio.wait_for(reader.readline(), 5) == b"still here\n"
    watching.cancel()


async def test_files_that_do_not_fit_leave_the_last_ones_in_use_and_are_told_once(
    files: Files, authority: Authority
) -> None:
    tls = ServerTLS(files.cert, files.key, renew_seconds=60)
    second = authority.certificate("second")
    with captured_lines("gateway") as lines:
        async with listening(tls) as port:
            before = await serial(port, authority.client())
            # Half of a renewal: the key comes later.
            shutil.copy(second.cert, files.cert)
            tls.renew()
            tls.renew()
            assert await serial(port, authority.client()) == before
            files.cert.unlink()
            tls.renew()
            assert await serial(port, authority.client()) == before
            files.put(second)
            tls.renew()
            assert await serial(port, authority.client()) != before
    told = [(line["event"], line["level"]) for line in lines_of(lines)]
    assert told == [*[("certificate_not_renewed", "error")] * 2, ("certificate_renewed", "info")]
    assert "RAG_GATEWAY_TLS_CERT" in lines_of(lines)[0]["reason"]


async def test_only_clients_of_the_named_authority_are_let_in_also_after_it_was_replaced(
    files: Files, authority: Authority, tmp_path: Path
) -> None:
    other = Authority(tmp_path / "other")
    shutil.copy(authority.ca, files.clients)
    tls = ServerTLS(files.cert, files.key, files.clients, renew_seconds=60)
    ours, theirs = (
        authority.client(authority.certificate("client")),
        authority.client(other.certificate("client")),
    )
    async with listening(tls) as port:
        assert await serial(port, ours)
        for refused in (theirs, authority.client()):
            with pytest.raises((ssl.SSLError, ConnectionError, AssertionError)):
                await serial(port, refused)
        shutil.copy(other.ca, files.clients)
        tls.renew()
        assert await serial(port, theirs)
        with pytest.raises((ssl.SSLError, ConnectionError, AssertionError)):
            await serial(port, ours)


async def test_old_versions_of_tls_are_not_spoken(files: Files, authority: Authority) -> None:
    tls = ServerTLS(files.cert, files.key, renew_seconds=60)
    assert tls.context.minimum_version is ssl.TLSVersion.TLSv1_2


def test_settings_that_do_not_fit_together_are_refused(files: Files, authority: Authority, tmp_path: Path) -> None:
    cases = [
        ({"gateway_tls_cert": files.cert}, "belong together"),
        ({"gateway_tls_client_ca": authority.ca}, "RAG_GATEWAY_TLS_CLIENT_CA is set, but"),
        (
            {"gateway_tls_cert": files.cert, "gateway_tls_key": tmp_path / "none.key"},
            r"_KEY: .*none\.key cannot be used",
        ),
        (
            {"gateway_tls_cert": files.cert, "gateway_tls_key": files.key, "gateway_tls_client_ca": files.key},
            "RAG_GATEWAY_TLS_CLIENT_CA: .* holds no certificates",
        ),
    ]
    for given, message in cases:
        with pytest.raises(Misconfigured, match=message):
            server_tls(GatewaySettings(**given))  # type: ignore[arg-type]
    assert server_tls(GatewaySettings()) is None
