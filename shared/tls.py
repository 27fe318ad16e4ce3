"""TLS of connections that we open: whom we trust, who we are, and what a handshake that failed means."""

import ssl
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from pydantic_settings import BaseSettings

from shared.errors import Misconfigured

PARTS: Final = ("ca", "cert", "key")
# OpenSSL's numbers for a certificate that is of another name or address than the one that was called.
_OTHER_NAME: Final = (62, 64)


def client_context(prefix: str, ca: Path | None, cert: Path | None = None, key: Path | None = None) -> ssl.SSLContext:
    """Return a context that checks certificate and host name, with our own certificate where one is named.

    `ca` none = the authorities of the system. Misconfigured names the setting (`prefix`_CA, _CERT, _KEY) that is wrong.
    """
    if (cert is None) != (key is None):
        raise Misconfigured(f"{prefix}_CERT and {prefix}_KEY belong together; set both or none")
    try:
        context = ssl.create_default_context(cafile=ca)
    except (OSError, ssl.SSLError) as error:
        raise Misconfigured(f"{prefix}_CA: {ca} is no PEM file of certificates that can be read: {error}") from None
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    if cert is not None:
        try:
            # Without a password nobody is asked for one on a terminal: a key that needs one is refused.
            context.load_cert_chain(cert, key, password="")  # nosec B106: none
        except (OSError, ssl.SSLError) as error:
            raise Misconfigured(f"{prefix}_CERT, {prefix}_KEY: {cert} and {key} cannot be used: {error}") from None
    return context


def context_of(
    settings: BaseSettings, prefix: str, address: str, scheme: str = "https", url: str | None = None
) -> ssl.SSLContext | None:
    """Return the context that the settings `prefix`_ca, _cert and _key ask for; None where they name no file.

    `address` is the setting that says where to connect to, with `url` in its place where that comes from elsewhere.
    Misconfigured when the address is one without TLS, or when a file can't be used.
    """
    ca, cert, key = (getattr(settings, f"{prefix}_{part}", None) for part in PARTS)
    named = [part for part, path in zip(PARTS, (ca, cert, key), strict=True) if path is not None]
    if not named:
        return None
    name = f"RAG_{prefix}".upper()
    if not (url or getattr(settings, address) or "").lower().startswith(f"{scheme}://"):
        raise Misconfigured(
            f"{name}_{named[0].upper()} is set, but RAG_{address.upper()} does not begin with {scheme}://"
        )
    return client_context(name, ca, cert, key)


def tls_trouble(error: BaseException, prefix: str) -> str | None:
    """Return what a failed handshake means and which setting (`prefix`_CA, _CERT, _KEY) to look at.

    None for a failure of another kind.
    """
    cause = next((one for one in _causes(error) if isinstance(one, ssl.SSLError)), None)
    if cause is None:
        return None
    if isinstance(cause, ssl.SSLCertVerificationError):
        if cause.verify_code in _OTHER_NAME:
            return f"the certificate is of another name: {cause.verify_message.rstrip('.')}; use an address it names"
        return (
            f"the certificate is of nobody who is trusted: {cause.verify_message}; {prefix}_CA names the file of the "
            "authority that signed it"
        )
    reason = (cause.reason or type(cause).__name__).lower().replace("_", " ")
    if "alert" in reason or isinstance(cause, ssl.SSLEOFError):
        return f"TLS was refused: {reason}; if our own certificate is wanted, {prefix}_CERT and {prefix}_KEY name it"
    return f"TLS failed: {reason}; see whether that port speaks TLS"


def _causes(error: BaseException) -> Iterator[BaseException]:
    """Yield an error and what it came from; some clients keep that in fields of their own."""
    waiting, seen = [error], set[int]()
    while waiting:
        one = waiting.pop(0)
        if id(one) in seen:
            continue
        seen.add(id(one))
        yield one
        kept = (one.__cause__, one.__context__, getattr(one, "source", None), getattr(one, "reason", None), *one.args)
        waiting += [other for other in kept if isinstance(other, BaseException)]
