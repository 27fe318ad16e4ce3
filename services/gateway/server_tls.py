"""The gateway's own TLS: its certificate, whose clients may connect, and how both are renewed while it runs."""

import asyncio
import ssl
from collections.abc import Sequence
from hashlib import sha256
from pathlib import Path
from typing import Final

from services.gateway.settings import GatewaySettings
from shared.errors import Misconfigured
from shared.logs import get_logger

log = get_logger(__name__)

PREFIX: Final = "RAG_GATEWAY_TLS"


class ServerTLS:
    """Holds the certificate that new connections are shown; `context` is what a server listens with.

    Files that change are taken together or not at all: while they do not fit, the last ones that did are used.
    Misconfigured names the file that can't be used at the start.
    """

    def __init__(self, cert: Path, key: Path, client_ca: Path | None = None, *, renew_seconds: float) -> None:
        self._renew_seconds = renew_seconds
        self._cert, self._key, self._client_ca = cert, key, client_ca
        self._seen = self._digest()
        self._current = self._load()
        self.context = self._load()
        # Whoever connects gets the context of that moment; connections that are open go on with theirs.
        self.context.sni_callback = self._take_current

    async def keep_renewed(self) -> None:
        """Look at the files every `renew_seconds`, until cancelled."""
        while True:
            await asyncio.sleep(self._renew_seconds)
            await asyncio.to_thread(self.renew)

    def renew(self) -> None:
        """Use the files if they have changed and fit together."""
        digest = self._digest()
        if digest == self._seen:
            return
        # What does not fit is told once, and looked at again only when it has changed again.
        self._seen = digest
        try:
            self._current = self._load()
        except Misconfigured as error:
            log.error("certificate_not_renewed", reason=error, hint="the last one that fitted is still used")
            return
        log.info("certificate_renewed", file=str(self._cert))

    def _load(self) -> ssl.SSLContext:
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        try:
            # Without a password nobody is asked for one on a terminal: a key that needs one is refused.
            context.load_cert_chain(self._cert, self._key, password="")  # nosec B106: none
        except (OSError, ssl.SSLError) as error:
            raise Misconfigured(f"{PREFIX}_CERT, {PREFIX}_KEY: {self._pair} cannot be used: {error}") from None
        if self._client_ca is not None:
            context.verify_mode = ssl.CERT_REQUIRED
            # A session that is taken up again would not be asked for its certificate again.
            context.num_tickets = 0
            context.options |= ssl.OP_NO_TICKET
            try:
                context.load_verify_locations(self._client_ca)
            except (OSError, ssl.SSLError) as error:
                name = f"{PREFIX}_CLIENT_CA"
                raise Misconfigured(
                    f"{name}: {self._client_ca} holds no certificates that can be read: {error}"
                ) from None
        return context

    @property
    def _pair(self) -> str:
        return f"{self._cert} and {self._key}"

    def _take_current(self, connection: ssl.SSLObject, _name: str | None, _context: ssl.SSLContext) -> None:
        connection.context = self._current

    def _digest(self) -> Sequence[bytes]:
        files = (self._cert, self._key, self._client_ca)
        return [_content_hash(path) for path in files if path is not None]


def _content_hash(path: Path) -> bytes:
    try:
        return sha256(path.read_bytes()).digest()
    except OSError:
        # One that is being replaced; what it means is for the next loading to say.
        return b""


def server_tls(settings: GatewaySettings) -> ServerTLS | None:
    """Return the TLS that the settings ask for, None for HTTP; Misconfigured when half of it is set."""
    cert, key, client_ca = settings.gateway_tls_cert, settings.gateway_tls_key, settings.gateway_tls_client_ca
    if cert is None and key is None:
        if client_ca is not None:
            raise Misconfigured(f"{PREFIX}_CLIENT_CA is set, but {PREFIX}_CERT and {PREFIX}_KEY are not")
        return None
    if cert is None or key is None:
        raise Misconfigured(f"{PREFIX}_CERT and {PREFIX}_KEY belong together; set both or none")
    return ServerTLS(cert, key, client_ca, renew_seconds=settings.gateway_tls_renew_seconds)
