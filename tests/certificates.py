"""Certificates for tests that speak TLS to real servers."""

import ssl
from dataclasses import dataclass
from pathlib import Path

import trustme

NAME = "127.0.0.1"


@dataclass(frozen=True)
class Certificate:
    """The files of one certificate and its key."""

    cert: Path
    key: Path


class Authority:
    """Signs certificates, whose files it leaves in a folder."""

    def __init__(self, folder: Path) -> None:
        self._authority = trustme.CA()
        self._folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        self.ca = folder / "ca.pem"
        self._authority.cert_pem.write_to_path(str(self.ca))

    def certificate(self, file_name: str, name: str = NAME) -> Certificate:
        """Return a certificate for a host name or an address."""
        issued = self._authority.issue_cert(name)
        cert, key = self._folder / f"{file_name}.crt", self._folder / f"{file_name}.key"
        issued.private_key_pem.write_to_path(str(key))
        # A client of PostgreSQL refuses a key that others may read.
        key.chmod(0o600)
        for place, part in enumerate(issued.cert_chain_pems):
            part.write_to_path(str(cert), append=place > 0)
        return Certificate(cert, key)

    def client(self, own: Certificate | None = None) -> ssl.SSLContext:
        """Return what a client needs that trusts this authority, with a certificate of its own where one is given."""
        context = ssl.create_default_context(cafile=self.ca)
        if own is not None:
            context.load_cert_chain(own.cert, own.key)
        return context
