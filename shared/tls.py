"""TLS of connections that we open: whom we trust, and who we are."""

import ssl
from pathlib import Path

from shared.errors import Misconfigured


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
            context.load_cert_chain(cert, key)
        except (OSError, ssl.SSLError) as error:
            raise Misconfigured(f"{prefix}_CERT, {prefix}_KEY: {cert} and {key} cannot be used: {error}") from None
    return context
