"""One port for several workers, of which each has a socket of its own: the system shares new connections out.

With one socket for all, the first worker to wake takes all connections that wait. A client that opens many
and keeps them open would have one worker work and the others idle.
"""

import asyncio
import socket
from typing import Any


class OwnSocketLoop(asyncio.SelectorEventLoop):
    """asyncio's own, save that it listens at the address of the socket it is given, not at that socket."""

    async def create_server(
        self, *arguments: Any, sock: socket.socket | None = None, **options: Any
    ) -> asyncio.Server:
        if sock is not None:
            sock = bound(sock.family, sock.getsockname())
        return await super().create_server(*arguments, sock=sock, **options)


def reserved(host: str, port: int) -> socket.socket:
    """A socket at the address, for workers to share it. Raises OSError if it cannot be had."""
    return bound(socket.AF_INET6 if ":" in host else socket.AF_INET, (host, port))


def bound(family: int, address: tuple[Any, ...]) -> socket.socket:
    sock = socket.socket(family, socket.SOCK_STREAM)
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        sock.bind(address)
    except OSError:
        sock.close()
        raise
    return sock
