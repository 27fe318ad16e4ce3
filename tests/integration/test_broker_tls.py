"""TLS to the broker, in one direction and mutual, with real certificates; and the configuration for clusters."""

import asyncio
import os
import ssl
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from nats.js.errors import NotFoundError

from contracts import subjects
from contracts.broker_users import password_variable
from contracts.permissions import fixed_users
from contracts.topology import STREAMS
from services.cli.broker_access import BrokerLogin, jetstream
from services.cli.broker_config import BrokerTLS, server_binary
from services.cli.errors import CommandError
from shared.errors import Misconfigured, Unavailable
from shared.messaging.broker import build_broker, connect, settle
from shared.messaging.provisioning import drift, provision
from shared.settings import PlatformSettings
from tests.broker_stand import GuardedBroker, guarded_broker
from tests.certificates import Authority, Certificate
from tests.servers import NatsServer, free_port, nats_server, wait_for_port

PROJECT = Path(__file__).resolve().parent.parent.parent


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("authority"))


@pytest.fixture(scope="module")
def ours(authority: Authority) -> Certificate:
    return authority.certificate("services")


@pytest.fixture(scope="module")
def mutual(authority: Authority, tmp_path_factory: pytest.TempPathFactory) -> Iterator[GuardedBroker]:
    own = authority.certificate("broker")
    with guarded_broker(tmp_path_factory.mktemp("mutual"), BrokerTLS(own.cert, own.key, authority.ca)) as broker:
        yield broker


@pytest.fixture(scope="module")
def one_way(authority: Authority, tmp_path_factory: pytest.TempPathFactory) -> Iterator[GuardedBroker]:
    own = authority.certificate("broker-one-way")
    with guarded_broker(tmp_path_factory.mktemp("one-way"), BrokerTLS(own.cert, own.key)) as broker:
        yield broker


def settings(broker: GuardedBroker, **more: Any) -> PlatformSettings:
    return PlatformSettings(
        nats_url=broker.url,
        nats_user="provisioner",
        nats_password=broker.passwords["provisioner"],
        nats_connect_seconds=3,
        **more,
    )


async def topology_of(wanted: PlatformSettings) -> list[str]:
    """Connect as a service does, make the topology, and return where it differs."""

    async def nothing() -> None:
        return None

    broker = build_broker(
        wanted, "test", on_closed=nothing, on_reconnected=nothing, closing=lambda: True, middlewares=()
    )
    try:
        client = await connect(broker, wanted)
        await provision(client.jetstream(), replicas=1)
        return await drift(client.jetstream(), replicas=1)
    finally:
        await broker.stop()


async def test_a_service_speaks_mutual_tls(mutual: GuardedBroker, authority: Authority, ours: Certificate) -> None:
    wanted = settings(mutual, nats_tls_ca=authority.ca, nats_tls_cert=ours.cert, nats_tls_key=ours.key)
    assert await topology_of(wanted) == []


async def test_the_command_line_speaks_mutual_tls(
    mutual: GuardedBroker, authority: Authority, ours: Certificate
) -> None:
    wanted = settings(mutual, nats_tls_ca=authority.ca, nats_tls_cert=ours.cert, nats_tls_key=ours.key)
    async with jetstream(BrokerLogin.of(wanted, mutual.url), connect_seconds=3) as js:
        await provision(js, replicas=1)


async def test_a_password_alone_does_not_open_a_broker_with_mutual_tls(
    mutual: GuardedBroker, authority: Authority
) -> None:
    with pytest.raises(Unavailable):
        await topology_of(settings(mutual, nats_tls_ca=authority.ca))


async def test_a_certificate_of_somebody_else_opens_nothing(
    mutual: GuardedBroker, authority: Authority, tmp_path: Path
) -> None:
    foreign = Authority(tmp_path).certificate("foreign")
    with pytest.raises(Unavailable):
        await topology_of(
            settings(mutual, nats_tls_ca=authority.ca, nats_tls_cert=foreign.cert, nats_tls_key=foreign.key)
        )


async def test_a_certificate_alone_is_nobody_but_the_producer(
    mutual: GuardedBroker, authority: Authority, ours: Certificate
) -> None:
    async with mutual.connected(None, authority.client(ours)) as (client, violations):
        await client.publish(subjects.DOCUMENT_DELETED, b"{}")
        await settle(client)
        assert violations.of("publish") == {subjects.DOCUMENT_DELETED}


async def test_tls_in_one_direction(one_way: GuardedBroker, authority: Authority) -> None:
    assert await topology_of(settings(one_way, nats_tls_ca=authority.ca)) == []


async def test_a_broker_of_another_authority_is_not_told_the_password(one_way: GuardedBroker, tmp_path: Path) -> None:
    login = BrokerLogin.of(settings(one_way, nats_tls_ca=Authority(tmp_path).ca), one_way.url)
    with pytest.raises(CommandError, match=r"(?i)certificate"):
        async with jetstream(login, connect_seconds=3):
            raise AssertionError("connected")


async def test_a_broker_that_speaks_no_tls_is_not_told_the_password(authority: Authority) -> None:
    """Whoever sits in between could leave TLS out of what the broker says first; so nothing is sent before TLS."""
    heard = bytearray()

    async def listen(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b'INFO {"server_id":"x","version":"2.15.1","max_payload":1048576,"auth_required":true}\r\n')
        heard.extend(await reader.read(4096))
        writer.close()

    server = await asyncio.start_server(listen, "127.0.0.1", 0)
    url = f"tls://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    login = BrokerLogin.of(
        PlatformSettings(nats_url=url, nats_user="agent", nats_password="a secret", nats_tls_ca=authority.ca), url
    )
    with pytest.raises(CommandError):
        async with jetstream(login, connect_seconds=2):
            raise AssertionError("connected")
    server.close()
    await server.wait_closed()
    assert heard[:1] == b"\x16", "the beginning of a TLS handshake"
    assert b"a secret" not in heard


def test_settings_that_do_not_fit_together(authority: Authority, ours: Certificate, tmp_path: Path) -> None:
    async def nothing() -> None:
        return None

    cases: list[tuple[dict[str, Any], str]] = [
        ({"nats_url": "nats://a", "nats_tls_ca": authority.ca}, "RAG_NATS_TLS_CA is set, but RAG_NATS_URL"),
        ({"nats_url": "tls://a,nats://b"}, "mixes"),
        ({"nats_url": "tls://a", "nats_tls_cert": ours.cert}, "belong together"),
        ({"nats_url": "tls://a", "nats_tls_ca": tmp_path / "none.pem"}, "RAG_NATS_TLS_CA.*cannot be read|can be read"),
        ({"nats_url": "tls://a", "nats_tls_cert": ours.cert, "nats_tls_key": authority.ca}, "RAG_NATS_TLS_KEY"),
    ]
    for wrong, message in cases:
        with pytest.raises(Misconfigured, match=message):
            build_broker(
                PlatformSettings(**wrong), "x", on_closed=nothing, on_reconnected=nothing, closing=lambda: True
            )


@pytest.fixture
def cluster_folder(tmp_path: Path, authority: Authority) -> Path:
    """Lay the files out as a pod mounts them."""
    own = authority.certificate("cluster")
    text = (PROJECT / "deploy/nats/nats.conf").read_text()
    tls = (PROJECT / "deploy/nats/tls.conf").read_text()
    for wanted, there in (("tls.crt", own.cert), ("tls.key", own.key), ("ca.crt", authority.ca)):
        tls = tls.replace(f"/etc/nats/tls/{wanted}", str(there))
    text = text.replace('"/data"', f'"{tmp_path}/data"').replace("0.0.0.0:8222", f"127.0.0.1:{free_port()}")
    (tmp_path / "nats.conf").write_text(text)
    (tmp_path / "tls.conf").write_text(tls)
    (tmp_path / "users.conf").write_text((PROJECT / "deploy/nats/users.conf").read_text())
    return tmp_path


@pytest.fixture
def cluster(cluster_folder: Path) -> Iterator[str]:
    """Run a server with the configuration for clusters; yields its address."""
    port = free_port()
    config = cluster_folder / "nats.conf"
    config.write_text(config.read_text().replace("0.0.0.0:4222", f"127.0.0.1:{port}"))
    passwords = {password_variable(user): f"p-{user}" for user in fixed_users()}
    environment = {**os.environ, **passwords, "NATS_SERVER_NAME": "one"}
    process = subprocess.Popen([str(server_binary()), "-c", str(config)], env=environment, stderr=subprocess.DEVNULL)
    try:
        wait_for_port(port, process)
        yield f"tls://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait(10)


@pytest.mark.parametrize("user", sorted(fixed_users()))
async def test_the_configuration_for_clusters_takes_passwords_from_the_environment(
    cluster: str, authority: Authority, ours: Certificate, user: str
) -> None:
    wanted = PlatformSettings(
        nats_url=cluster,
        nats_user=user,
        nats_password=f"p-{user}",
        nats_tls_ca=authority.ca,
        nats_tls_cert=ours.cert,
        nats_tls_key=ours.key,
    )
    async with jetstream(BrokerLogin.of(wanted, cluster), connect_seconds=3) as js:
        with pytest.raises(NotFoundError):
            await js.stream_info(STREAMS[0].name)


def test_without_a_password_the_server_for_clusters_does_not_start(cluster_folder: Path) -> None:
    """A forgotten variable must not become an empty password, or a user that everybody knows."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("NATS_")}
    command = [str(server_binary()), "-c", str(cluster_folder / "nats.conf"), "-t"]
    found = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=30, check=False)
    assert found.returncode != 0
    assert "NATS_" in found.stderr + found.stdout


@pytest.fixture(scope="module")
def plain() -> Iterator[NatsServer]:
    with nats_server() as server:
        yield server


async def test_without_tls_nothing_changes(plain: NatsServer) -> None:
    assert await topology_of(PlatformSettings(nats_url=plain.url, nats_connect_seconds=3)) == []


def test_the_context_of_clients_checks_whom_it_speaks_to(authority: Authority) -> None:
    from shared.tls import client_context

    context = client_context("RAG_X", authority.ca)
    assert context.check_hostname
    assert context.verify_mode is ssl.CERT_REQUIRED
    assert context.minimum_version is ssl.TLSVersion.TLSv1_2
