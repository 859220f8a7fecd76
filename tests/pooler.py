"""A pooler before a Postgres, played: no machine has to have one."""

from __future__ import annotations

import socket
import socketserver
import struct
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace

from include.settings import Warehouse

# What our connections start with.
OURS = {"options": "-c timezone=UTC"}


@dataclass
class _Session:
    """A connection of the pooler's to the server, and what the server said of itself."""

    server: socket.socket
    says: bytes = b""


Take = Callable[[list[_Session]], _Session]


def newest(free: list[_Session]) -> _Session:
    """That which was given back last."""
    return free.pop()


def oldest(free: list[_Session]) -> _Session:
    """That which has waited longest."""
    return free.pop(0)


def _message(stream: socket.socket) -> bytes:
    """The next message of the protocol, whole; empty where the other side is gone."""
    head = stream.recv(5, socket.MSG_WAITALL)
    return head and head + stream.recv(struct.unpack("!i", head[1:])[0] - 4, socket.MSG_WAITALL)


def _begun(where: Warehouse, options: Mapping[str, str]) -> _Session:
    """A new session on a server that trusts us."""
    parameters = {"user": where.user, "database": where.database, **options}
    body = struct.pack("!i", 196608) + b"".join(f"{name}\0{value}\0".encode() for name, value in parameters.items())
    session = _Session(socket.socket(socket.AF_UNIX))
    session.server.connect(f"{where.host}/.s.PGSQL.{where.port}")
    session.server.sendall(struct.pack("!i", len(body) + 5) + body + b"\0")
    while (said := _message(session.server))[:1] != b"Z":
        session.says += said
    session.says += said
    return session


@dataclass
class _Pool:
    """The sessions that are free; `take` says which of them a client gets next."""

    free: list[_Session]
    take: Take
    changed: threading.Condition = field(default_factory=threading.Condition)

    @contextmanager
    def session(self) -> Iterator[_Session]:
        """One of them, for the time of the block."""
        with self.changed:
            assert self.changed.wait_for(lambda: self.free, timeout=10)
            taken = self.take(self.free)
        try:
            yield taken
        finally:
            with self.changed:
                self.free.append(taken)
                self.changed.notify()


def _transaction(client: socket.socket, session: _Session, asked: bytes) -> None:
    """Hand on what is asked and answered, until the server says that no transaction is open."""
    while asked and asked[:1] != b"X":
        session.server.sendall(asked)
        while (said := _message(session.server))[:1] != b"Z":
            client.sendall(said)
        client.sendall(said)
        if said.endswith(b"I"):
            return
        asked = _message(client)


@contextmanager
def pooled(
    where: Warehouse, sessions: int, take: Take = newest, *, keeps: bool = False, options: Mapping[str, str] = OURS
) -> Iterator[Warehouse]:
    """A pooler before a warehouse, with sessions that it began with these options, whatever a client asks for.

    It `keeps` a session for each client, or gives one for each transaction.
    """
    pool = _Pool([_begun(where, options) for _ in range(sessions)], take)

    class Client(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            client: socket.socket = self.request
            (length,) = struct.unpack("!i", client.recv(4, socket.MSG_WAITALL))
            client.recv(length - 4, socket.MSG_WAITALL)  # as whom, and with which options: it has sessions already
            with pool.session() as first:
                client.sendall(first.says)
                while keeps and (asked := _message(client)):
                    _transaction(client, first, asked)
            while asked := _message(client):
                with pool.session() as session:
                    _transaction(client, session, asked)

    class Server(socketserver.ThreadingTCPServer):
        daemon_threads = True
        block_on_close = False

    with Server(("127.0.0.1", 0), Client) as server:
        threading.Thread(target=server.serve_forever, args=[0.01], daemon=True).start()
        yield replace(where, host="127.0.0.1", port=server.server_address[1])
        server.shutdown()
    for session in pool.free:
        session.server.close()
