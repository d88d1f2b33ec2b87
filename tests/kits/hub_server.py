"""A stand-in for the Hugging Face Hub on this machine: tests say what it answers."""

from __future__ import annotations

import contextlib
import http.server
import json
import threading
from collections.abc import Iterator
from typing import Any


class HubServer(http.server.ThreadingHTTPServer):
    """``requests``: (method, path without its query, body) of all calls so far; ``address``: where it listens. Tests set further attributes."""

    requests: list[tuple[str, str, bytes]]
    address: str


class HubHandler(http.server.BaseHTTPRequestHandler):
    """Subclasses define ``answer``, which calls ``reply`` once; ``path`` comes without its query."""

    protocol_version = "HTTP/1.1"
    server: HubServer

    def do_GET(self) -> None:
        path, body = self.path.split("?")[0], self._body()
        self.server.requests.append((self.command, path, body))
        self.answer(path, body)

    do_HEAD = do_POST = do_GET

    def answer(self, path: str, body: bytes) -> None:
        raise NotImplementedError

    def reply(self, content: Any = b"", status: int = 200, **headers: str) -> None:
        """``content``: bytes, or a value sent as JSON; ``headers`` with "_" for "-"."""
        body = content if isinstance(content, bytes) else json.dumps(content).encode()
        kind = {} if isinstance(content, bytes) else {"Content_Type": "application/json"}
        self.send_response(status)
        for name, value in {"Content_Length": str(len(body)), **kind, **headers}.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def _body(self) -> bytes:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        if self.headers.get("Transfer-Encoding") == "chunked":
            while size := int(self.rfile.readline(), 16):
                body += self.rfile.read(size)
                self.rfile.readline()
            self.rfile.readline()
        return body

    def log_message(self, *_: object) -> None:
        pass


@contextlib.contextmanager
def serving(handler: type[HubHandler], **attributes: Any) -> Iterator[HubServer]:
    """A running server that answers with ``handler`` and carries ``attributes``."""
    with HubServer(("127.0.0.1", 0), handler) as server:
        server.requests, server.address = [], f"http://127.0.0.1:{server.server_port}"
        vars(server).update(attributes)
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield server
        server.shutdown()
        thread.join()
