"""How long a peer may take, and who must go where there are too many. Without an end to it, 500 sockets that say
nothing keep everybody else out for ever."""

from __future__ import annotations

import asyncio
import socket
from itertools import count
from typing import Any

from uvicorn.protocols.http.auto import AutoHTTPProtocol

REQUEST_S = 15.0
"""For a whole request, from the first moment that the peer owes one. Between two, uvicorn's keep-alive counts."""
STANDSTILL_S = 30.0
"""So long a peer may take not one byte of its answer. A slow one takes some."""
HEADER_BYTES = 64 * 1024
"""The most of a request before its body. The parser takes any: each peer could fill the memory."""
UNSENT_BYTES = 16 * 1024
"""So much the system may hold that is not yet on its way to the peer."""

MOST_STRANGERS = 250
"""Connections by which nobody has asked who is logged in. Half of all: nobody outside keeps those within out."""

_Http: Any = AutoHTTPProtocol
_arrivals = count()
"""A number for each peer, since the loop's clock stands still while it turns."""


class Patience(_Http):  # type: ignore[misc]
    """uvicorn's own protocol, which waits for ever for the rest of a request and for the end of an answer."""

    _owing: asyncio.TimerHandle | None = None
    _writing: asyncio.TimerHandle | None = None
    _left = 0
    _header_bytes = 0
    """That came since the last header was whole, and are of no body."""
    _arrival = 0
    _known = False

    def connection_made(self, transport: asyncio.Transport) -> None:
        super().connection_made(transport)
        # What lies in buffers grows old: on a slow link the system alone holds news of half a minute.
        transport.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT, UNSENT_BYTES)
        transport.set_write_buffer_limits(high=1)  # TLS takes 0 for full when it is empty
        self._expect(True)
        self._arrival = next(_arrivals)
        self._make_room()

    def data_received(self, data: bytes) -> None:
        self._is_stranger()  # before the next request is all that is known of this peer
        before = self.cycle
        super().data_received(data)
        answered = self.cycle is None or self.cycle.response_complete
        self._expect(answered or self.cycle.more_body)
        in_body = not answered and self.cycle.more_body
        self._header_bytes = 0 if in_body or self.cycle is not before else self._header_bytes + len(data)
        if self._header_bytes > HEADER_BYTES:
            self.transport.abort()

    def connection_lost(self, error: Exception | None) -> None:
        self._expect(False)
        self._stop_writing()
        super().connection_lost(error)

    def pause_writing(self) -> None:
        super().pause_writing()
        self._left = self.transport.get_write_buffer_size()
        self._writing = self.loop.call_later(STANDSTILL_S, self._look)

    def resume_writing(self) -> None:
        self._stop_writing()
        super().resume_writing()

    def _is_stranger(self) -> bool:
        """The guard notes in the state of a request who asks."""
        self._known = self._known or bool(((self.scope or {}).get("state") or {}).get("identity"))
        return not self._known and not self.transport.is_closing()

    def _make_room(self) -> None:
        """For a newcomer goes the stranger who was here first, of those who are answered only where all are."""
        others = [one for one in self.connections if one is not self and one._is_stranger()]
        if len(others) >= MOST_STRANGERS:
            min(others, key=lambda one: (one._owing is None, one._arrival)).transport.abort()

    def _expect(self, something: bool) -> None:
        if something and self._owing is None:
            self._owing = self.loop.call_later(REQUEST_S, self.transport.abort)
        elif not something and self._owing is not None:
            self._owing.cancel()
            self._owing = None

    def _look(self) -> None:
        left = self.transport.get_write_buffer_size()
        if left >= self._left:
            self.transport.abort()
            return
        self._left = left
        self._writing = self.loop.call_later(STANDSTILL_S, self._look)

    def _stop_writing(self) -> None:
        if self._writing is not None:
            self._writing.cancel()
            self._writing = None
