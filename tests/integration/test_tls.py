"""TLS to everything that the platform speaks to, by real handshakes: who is trusted, who is not, and who we are."""

from collections.abc import Iterator
from typing import Final

import pytest

from tests.certificates import Authority, Certificate
from tests.tls_peers import Files, Peer, running_peers
from tests.tls_proxy import TLSProxy, only_handshakes, server_context, tls_before


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("authority"))


@pytest.fixture(scope="module")
def stranger(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("stranger"))


@pytest.fixture(scope="module")
def ours(authority: Authority) -> Certificate:
    return authority.certificate("ours")


@pytest.fixture(scope="module")
def peers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Peer]]:
    with running_peers(tmp_path_factory.mktemp("unused")) as running:
        yield running


KINDS: Final = (
    "cache",
    "database",
    "embedding",
    "index",
    "issuer",
    "language model",
    "next embedding",
    "rate limits",
    "spans",
)
# There is no setting for our own certificate: a key set is public.
MUTUAL: Final = tuple(kind for kind in KINDS if kind != "issuer")


@pytest.fixture
def peer(request: pytest.FixtureRequest, peers: dict[str, Peer]) -> Peer:
    return peers[request.param]


@pytest.fixture
def one_way(peer: Peer, authority: Authority) -> Iterator[TLSProxy]:
    own = authority.certificate("server")
    with tls_before(peer.port, server_context(own), asks_first=peer.asks_first) as proxy:
        yield proxy


@pytest.fixture
def mutual(peer: Peer, authority: Authority) -> Iterator[TLSProxy]:
    context = server_context(authority.certificate("server"), authority.ca)
    with tls_before(peer.port, context, asks_first=peer.asks_first) as proxy:
        yield proxy


@pytest.mark.parametrize("peer", KINDS, indirect=True)
async def test_who_has_a_certificate_of_the_named_authority_is_spoken_to(
    peer: Peer, one_way: TLSProxy, authority: Authority
) -> None:
    assert await peer.attempt(one_way.port, Files(authority.ca)) is None
    assert one_way.passed_bytes > 0


@pytest.mark.parametrize("peer", KINDS, indirect=True)
async def test_who_has_a_certificate_of_another_authority_is_told_nothing(
    peer: Peer, one_way: TLSProxy, stranger: Authority
) -> None:
    """INVARIANT: nothing is sent before the certificate is checked. Else whoever sits in between reads the password."""
    told = await peer.attempt(one_way.port, Files(stranger.ca))
    assert told is not None
    assert "certificate" in told
    assert peer.settings in told
    assert one_way.passed_bytes == 0


@pytest.mark.parametrize("peer", [kind for kind in KINDS if kind != "database"], indirect=True)
async def test_without_a_named_authority_a_private_one_is_not_trusted(peer: Peer, one_way: TLSProxy) -> None:
    told = await peer.attempt(one_way.port, Files())
    assert told is not None
    assert f"{peer.settings}_CA" in told
    assert one_way.passed_bytes == 0


@pytest.mark.parametrize("peer", KINDS, indirect=True)
async def test_a_certificate_of_another_name_is_not_taken(peer: Peer, authority: Authority) -> None:
    elsewhere = server_context(authority.certificate("elsewhere", "elsewhere.example"))
    with tls_before(peer.port, elsewhere, asks_first=peer.asks_first) as proxy:
        told = await peer.attempt(proxy.port, Files(authority.ca))
        assert told is not None
        assert "127.0.0.1" in told
        assert proxy.passed_bytes == 0


@pytest.mark.parametrize("peer", MUTUAL, indirect=True)
async def test_our_own_certificate_opens_a_server_with_mutual_tls(
    peer: Peer, mutual: TLSProxy, authority: Authority, ours: Certificate
) -> None:
    assert await peer.attempt(mutual.port, Files(authority.ca, ours)) is None
    assert mutual.passed_bytes > 0


@pytest.mark.parametrize("peer", MUTUAL, indirect=True)
async def test_a_server_with_mutual_tls_takes_nothing_from_a_foreign_certificate(
    peer: Peer, mutual: TLSProxy, authority: Authority, stranger: Authority
) -> None:
    foreign = stranger.certificate("foreign")
    assert await peer.attempt(mutual.port, Files(authority.ca, foreign)) is not None
    assert await peer.attempt(mutual.port, Files(authority.ca)) is not None
    assert mutual.passed_bytes == 0


@pytest.mark.parametrize("peer", MUTUAL, indirect=True)
async def test_a_missing_certificate_of_our_own_is_named(peer: Peer, authority: Authority) -> None:
    context = server_context(authority.certificate("server"), authority.ca)
    with only_handshakes(context, asks_first=peer.asks_first) as port:
        told = await peer.attempt(port, Files(authority.ca))
    assert told is not None
    assert (peer.settings if peer.asks_first else f"{peer.settings}_CERT") in told
