"""An OpenID Connect issuer on a real port, with real keys, that counts how often it is asked for them."""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import jwt
import orjson
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from jwt.algorithms import ECAlgorithm, RSAAlgorithm

PrivateKey = rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey


@dataclass
class Issuer:
    """Signs tokens with the keys that it publishes; `down` has it answer 503."""

    url: str
    private: dict[str, PrivateKey] = field(default_factory=dict)
    published: dict[str, dict[str, Any]] = field(default_factory=dict)
    fetches: int = 0
    down: bool = False
    claims_issuer: str | None = None

    def add_rsa(self, kid: str) -> None:
        key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        self.private[kid] = key
        self.published[kid] = {**RSAAlgorithm.to_jwk(key.public_key(), as_dict=True), "kid": kid, "use": "sig"}

    def add_ec(self, kid: str) -> None:
        key = ec.generate_private_key(ec.SECP256R1())
        self.private[kid] = key
        self.published[kid] = {**ECAlgorithm.to_jwk(key.public_key(), as_dict=True), "kid": kid, "alg": "ES256"}

    def token(self, kid: str = "rsa-1", *, algorithm: str = "RS256", **claims: Any) -> str:
        """Return a token; a claim that is None is left out."""
        now = int(time.time())
        usual = {
            "iss": self.url,
            "aud": "rag",
            "sub": "ada@example.org",
            "exp": now + 300,
            "tenant": "acme",
            "scope": "query ingest openid",
        }
        given = {name: value for name, value in {**usual, **claims}.items() if value is not None}
        return jwt.encode(given, self.private[kid], algorithm=algorithm, headers={"kid": kid})


@contextmanager
def oidc_issuer() -> Iterator[Issuer]:
    """Run an issuer with one RSA and one EC key until the block ends."""
    found: list[Issuer] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            issuer = found[0]
            if self.path == "/.well-known/openid-configuration":
                self._answer({"issuer": issuer.claims_issuer or issuer.url, "jwks_uri": f"{issuer.url}/keys"})
            else:
                issuer.fetches += 1
                self._answer({"keys": list(issuer.published.values())})

        def _answer(self, document: dict[str, Any]) -> None:
            self.send_response(503 if found[0].down else 200)
            self.end_headers()
            self.wfile.write(orjson.dumps(document))

        def log_message(self, *_arguments: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    found.append(Issuer(f"http://127.0.0.1:{server.server_address[1]}"))
    found[0].add_rsa("rsa-1")
    found[0].add_ec("ec-1")
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield found[0]
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
