"""HTTP by httptools, which does not bound what a client may send before a body: this does."""

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

MAX_HEAD = 2**19  # a head is a few hundred bytes; what arrives at once is up to half of this


class BoundedProtocol(HttpToolsProtocol):
    """uvicorn's own, save that a request line and headers of more than MAX_HEAD bytes end the connection."""

    _in_head = True
    _head_bytes = 0

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        if self._in_head:
            self._head_bytes += len(data)
            if self._head_bytes > MAX_HEAD and not self.transport.is_closing():
                self.send_400_response("The head of the request is too large.")

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._in_head, self._head_bytes = True, 0

    def on_headers_complete(self) -> None:
        self._in_head = False
        super().on_headers_complete()
