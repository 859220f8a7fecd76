"""A Postgres that takes encrypted connections alone, with certificates made for it.

The wheel's Postgres can't encrypt. So there are two: that of the tests behind a front that does, on any machine, and
the system's own where one is installed, which comes with a pg_dump that encrypts as well.
"""

from __future__ import annotations

import os
import pwd
import select
import socket
import socketserver
import ssl
import struct
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from include.local import postgres
from include.local.postgres import LocalPostgres

# Who has to show a certificate; it is made out to this user.
CERTIFIED = "certified"
SYSTEMS = sorted(Path("/usr/lib/postgresql").glob("*/bin/postgres"))[-1:]
_SSL_REQUEST, _GSS_REQUEST = 80877103, 80877104


@dataclass(frozen=True)
class Certificates:
    """Files: who signs, somebody else who does, the server's own for `localhost`, and a client's, each with its key."""

    folder: Path

    def __getitem__(self, name: str) -> str:
        return str(self.folder / name)

    @classmethod
    def made_in(cls, folder: Path) -> Certificates:
        """New ones."""
        made = cls(folder)
        ca = _certificate(made, "ca", "Greenery's own")
        _certificate(made, "other_ca", "Somebody else")
        _certificate(made, "server", "localhost", signed_by=ca)
        _certificate(made, "client", CERTIFIED, signed_by=ca)
        return made


@dataclass(frozen=True)
class TlsServer:
    """Where it listens, and a command that reads a database as libpq's own variables say."""

    port: int
    cluster: LocalPostgres
    reads: list[str]


def _certificate(
    to: Certificates, file: str, name: str, signed_by: tuple[x509.Name, ec.EllipticCurvePrivateKey] | None = None
) -> tuple[x509.Name, ec.EllipticCurvePrivateKey]:
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
    issuer, signs = signed_by or (subject, key)
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder(issuer, subject, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.BasicConstraints(ca=signed_by is None, path_length=None), critical=True)
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(name.replace(" ", "-"))]), critical=False)
        .sign(signs, hashes.SHA256())
    )
    Path(to[f"{file}.crt"]).write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    written = Path(to[f"{file}.key"])
    written.touch(mode=0o600)
    written.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    return subject, key


@contextmanager
def in_front_of(cluster: LocalPostgres, certificates: Certificates) -> Iterator[TlsServer]:
    """A front that encrypts before a Postgres that can't; it refuses what a server's `hostssl` rules refuse."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=certificates["ca.crt"])
    context.load_cert_chain(certificates["server.crt"], certificates["server.key"])
    context.verify_mode = ssl.CERT_OPTIONAL

    class Front(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            client: socket.socket = self.request
            begins = client.recv(8, socket.MSG_WAITALL)
            while begins[4:] == struct.pack("!i", _GSS_REQUEST):
                client.sendall(b"N")
                begins = client.recv(8, socket.MSG_WAITALL)
            if begins[4:] != struct.pack("!i", _SSL_REQUEST):
                refuse(client, "no pg_hba.conf entry for this host, user and database, no encryption")
                return
            client.sendall(b"S")
            try:
                encrypted = context.wrap_socket(client, server_side=True)
            except (ssl.SSLError, OSError):  # refused by the client
                return
            with encrypted, socket.socket(socket.AF_UNIX) as server:
                startup = encrypted.recv(65536)
                if f"user\0{CERTIFIED}\0".encode() in startup and not encrypted.getpeercert():
                    refuse(encrypted, "connection requires a valid client certificate")
                    return
                server.connect(f"{cluster.host}/.s.PGSQL.{cluster.port}")
                server.sendall(startup)
                relay(encrypted, server)

    class Server(socketserver.ThreadingTCPServer):
        daemon_threads = True
        block_on_close = False

    with Server(("127.0.0.1", 0), Front) as front:
        threading.Thread(target=front.serve_forever, args=[0.01], daemon=True).start()
        reads = [sys.executable, "-c", "import psycopg2; psycopg2.connect('')"]
        yield TlsServer(front.server_address[1], cluster, reads)
        front.shutdown()


def refuse(client: socket.socket, why: str) -> None:
    """What a server says to whom it does not let in."""
    fields = b"".join(f"{field}{value}\0".encode() for field, value in (("S", "FATAL"), ("C", "28000"), ("M", why)))
    client.sendall(b"E" + struct.pack("!i", len(fields) + 5) + fields + b"\0")


def relay(client: ssl.SSLSocket, server: socket.socket) -> None:
    """Hand on what either says, until one of them is gone."""
    while True:
        ready = [client] if client.pending() else select.select([client, server], [], [])[0]
        for one, other in ((client, server), (server, client)):
            if one in ready:
                said = one.recv(65536)
                if not said:
                    return
                other.sendall(said)


@contextmanager
def of_the_system(program: Path, home: Path, certificates: Certificates) -> Iterator[TlsServer]:
    """The system's own Postgres, with rules for encrypted connections alone."""
    rules = home / "rules.conf"
    rules.write_text(f"local all all trust\nhostssl all {CERTIFIED} all cert\nhostssl all all all trust\n")
    for file in (rules, Path(certificates["server.key"])):
        if os.geteuid() == 0:
            owner = pwd.getpwnam(postgres.SYSTEM_USER)
            os.chown(file, owner.pw_uid, owner.pw_gid)
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(postgres, "binary", lambda name: str(program.with_name(name)))
        cluster = postgres.start(
            home / "postgres",
            settings={
                "ssl": "on",
                "ssl_cert_file": certificates["server.crt"],
                "ssl_key_file": certificates["server.key"],
                "ssl_ca_file": certificates["ca.crt"],
                "listen_addresses": "localhost",
                "hba_file": str(rules),
                "fsync": "off",
            },
        )
        yield TlsServer(cluster.port, cluster, [str(program.with_name("pg_dump")), "--schema-only"])
        postgres.stop(cluster.data)
