"""A server of tokens for a registry, whose tokens last as long as a test wants."""

from __future__ import annotations

import base64
import datetime
import json
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa


class Tokens(ThreadingHTTPServer):
    """Gives tokens that the registry takes for `seconds`, to who knows the password."""

    daemon_threads = True
    LEEWAY = 60  # seconds that the registry takes a token for after its end

    def __init__(self, folder: Path) -> None:
        super().__init__(("127.0.0.1", 0), _Giving)
        self.seconds = 300.0
        self.given = 0
        self.key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "tokens")])
        now = datetime.datetime.now(datetime.timezone.utc)
        self.certificate = (
            x509.CertificateBuilder()
            .subject_name(name)
            .issuer_name(name)
            .public_key(self.key.public_key())
            .serial_number(1)
            .not_valid_before(now - datetime.timedelta(days=1))
            .not_valid_after(now + datetime.timedelta(days=1))
            .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
            .sign(self.key, hashes.SHA256())
        )
        bundle = folder / "tokens.pem"
        bundle.write_bytes(self.certificate.public_bytes(serialization.Encoding.PEM))
        self.auth = (
            f"auth: {{token: {{realm: 'http://127.0.0.1:{self.server_address[1]}/token', "
            f"service: us, issuer: tokens, rootcertbundle: '{bundle}'}}}}"
        )

    def token(self, scopes: list[str]) -> str:
        """A signed one for what is asked."""
        now = int(time.time())
        access = []
        for scope in " ".join(scopes).split():
            kind, name, actions = scope.split(":")
            access.append({"type": kind, "name": name, "actions": actions.split(",")})
        der = self.certificate.public_bytes(serialization.Encoding.DER)
        header = {"typ": "JWT", "alg": "RS256", "x5c": [base64.b64encode(der).decode()]}
        claims = {
            "iss": "tokens",
            "aud": "us",
            "exp": int(now - self.LEEWAY + self.seconds),
            "nbf": now - 3600,
            "iat": now - 3600,
            "jti": str(self.given),
            "access": access,
        }
        text = ".".join(_url(json.dumps(each).encode()) for each in (header, claims))
        signed = self.key.sign(text.encode(), padding.PKCS1v15(), hashes.SHA256())
        return f"{text}.{_url(signed)}"


class _Giving(BaseHTTPRequestHandler):
    server: Tokens

    def log_message(self, *_: object) -> None:
        """Quiet."""

    def do_GET(self) -> None:
        wanted = "Basic " + base64.b64encode(b"builder:secret").decode()
        query = parse_qs(urlsplit(self.path).query)
        if self.headers.get("Authorization") != wanted:
            self.send_error(401)
            return
        self.server.given += 1
        token = self.server.token(query.get("scope", []))
        body = json.dumps({"token": token, "expires_in": 300}).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


def _url(content: bytes) -> str:
    return base64.urlsafe_b64encode(content).rstrip(b"=").decode()
