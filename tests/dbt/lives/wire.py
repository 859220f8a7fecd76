"""A wire between the project and its Postgres, which breaks at a statement that commits.

What the server sees of a process that is killed is that its sessions end, whatever they were at: so a wire that breaks
altogether, and stays so, is a killed process, with the statement chosen to the letter. A commit that breaks may have
reached the server: then it is committed, and nobody heard so.
"""

from __future__ import annotations

import socket
import socketserver
import struct
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace

from include.settings import Warehouse

# The first word of a cancel request, or of one that asks for encryption: neither begins a session.
_NO_SESSION = range(80877100, 80877110)


@dataclass
class Wire:
    """Both ends of it: the `server`, and the `port` of this machine at which who is told so finds it.

    `breaks_at` says at which commit of those that it `counts`, from 1 on, and what breaks then: `altogether` every
    session and all that would come, until it is mended, else that one session; none where it `goes_on`. `strikes` is
    called first, with the port at which who commits has their end. `broke` counts how often it did.
    """

    port: int
    server: Warehouse | None
    breaks_at: int = 0
    heard: bool = False
    altogether: bool = False
    goes_on: bool = False
    strikes: Callable[[int], None] | None = None
    commits: int = 0
    counts: Callable[[], bool] = lambda: False
    broke: int = 0
    dead: bool = False
    open: set[socket.socket] = field(default_factory=set)
    lock: threading.Lock = field(default_factory=threading.Lock)
    at_rest: threading.Event = field(default_factory=threading.Event)

    @property
    def where(self) -> Warehouse:
        """What the project is told."""
        return replace(self.server, host="127.0.0.1", port=self.port)

    @contextmanager
    def breaking(
        self,
        at: int,
        counts: Callable[[], bool],
        *,
        heard: bool = False,
        altogether: bool = False,
        goes_on: bool = False,
        strikes: Callable[[int], None] | None = None,
    ) -> Iterator[None]:
        """Break so once in the block, if it comes to as many commits; whole again afterwards."""
        self.commits, self.breaks_at, self.counts = 0, at, counts
        self.heard, self.altogether, self.goes_on, self.strikes = heard, altogether, goes_on, strikes
        try:
            yield
        finally:
            self.breaks_at = 0
            self.mend()

    def mend(self) -> None:
        """Let whoever connects from now on through, once the server is there again."""
        assert self.at_rest.wait(300), "the server did not come up again"
        self.dead = False

    def is_breaking(self, asked: bytes) -> bool:
        """Whether a message to the server is the commit at which it breaks; counts it."""
        if self.commits >= self.breaks_at or asked[:1] != b"Q" or asked[5:11].lower() != b"commit" or not self.counts():
            return False
        with self.lock:
            self.commits += 1
            if self.commits == self.breaks_at:
                self.at_rest.clear()
            breaks = self.commits == self.breaks_at
            self.broke += breaks
            return breaks

    def cut(self) -> None:
        """End what is open."""
        if self.altogether:
            self.dead = True
            with self.lock:
                ends = [*self.open]
            for end in ends:
                _close(end)


def _close(end: socket.socket) -> None:
    with suppress(OSError):
        end.shutdown(socket.SHUT_RDWR)


def _message(stream: socket.socket) -> bytes:
    """The next message to the server, whole; empty where the other side is gone."""
    head = stream.recv(5, socket.MSG_WAITALL)
    if len(head) < 5:
        return b""
    return head + stream.recv(struct.unpack("!i", head[1:])[0] - 4, socket.MSG_WAITALL)


def _hand_back(server: socket.socket, client: socket.socket, unheard: threading.Event) -> None:
    """What the server says, until somebody is gone, or is not to hear it any more."""
    with suppress(OSError):
        while said := server.recv(1 << 16):
            if unheard.is_set():
                return  # nobody is told yet that it ended: who is to be killed does not come to notice
            client.sendall(said)
    _close(client)
    _close(server)


def _connected(server: Warehouse) -> socket.socket:
    """In a folder, or at an address."""
    if not server.host.startswith("/"):
        return socket.create_connection((server.host, server.port))
    to_server = socket.socket(socket.AF_UNIX)
    to_server.connect(f"{server.host}/.s.PGSQL.{server.port}")
    return to_server


@contextmanager
def wired(server: Warehouse | None = None) -> Iterator[Wire]:
    """A wire to a server; to one that is not there yet where who starts it says later which it is."""

    class Client(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            client: socket.socket = self.request
            if wire.dead:
                return
            try:
                to_server = _connected(wire.server)
            except OSError:  # it is being started
                return
            with to_server:
                unheard = threading.Event()
                back = threading.Thread(target=_hand_back, args=(to_server, client, unheard), daemon=True)
                back.start()
                with wire.lock:
                    wire.open |= {client, to_server}
                try:
                    with suppress(OSError):
                        self.talk(client, to_server, unheard, back)
                finally:
                    with wire.lock:
                        wire.open -= {client, to_server}
                    _close(client)
                    _close(to_server)
                    back.join()

        def talk(
            self, client: socket.socket, to_server: socket.socket, unheard: threading.Event, back: threading.Thread
        ) -> None:
            length = client.recv(4, socket.MSG_WAITALL)
            begins = client.recv(struct.unpack("!i", length)[0] - 4, socket.MSG_WAITALL)
            to_server.sendall(length + begins)
            if struct.unpack("!i", begins[:4])[0] in _NO_SESSION:
                back.join()
            while asked := _message(client):
                if wire.is_breaking(asked):
                    if wire.heard:
                        unheard.set()
                        to_server.sendall(asked)
                        back.join()  # until the server has answered
                    if wire.strikes:
                        wire.strikes(client.getpeername()[1])
                    if not wire.goes_on:
                        wire.cut()
                    wire.at_rest.set()
                    if not wire.goes_on:
                        return
                to_server.sendall(asked)

    class Server(socketserver.ThreadingTCPServer):
        daemon_threads = True
        block_on_close = False
        request_queue_size = 64

    with Server(("127.0.0.1", 0), Client) as listening:
        wire = Wire(listening.server_address[1], server)
        wire.at_rest.set()
        threading.Thread(target=listening.serve_forever, args=[0.02], daemon=True).start()
        try:
            yield wire
        finally:
            listening.shutdown()
