"""uvicorn's HTTP/1.1, plus the one thing that ASGI has no word for: to cut a connection whose client does not read."""

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol


class CuttingProtocol(HttpToolsProtocol):
    """Puts `abort` into the state of every request: it closes the connection at once, whatever is still to be sent."""

    def on_message_begin(self) -> None:
        """A request begins."""
        super().on_message_begin()
        self.scope["state"]["abort"] = self.transport.abort
