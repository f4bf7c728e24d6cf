"""A tiny HTTP server whose answers a test gives as a function, on a free port of loopback."""

from __future__ import annotations

import contextlib
import json
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qsl, urlsplit


@dataclass(frozen=True)
class Asked:
    """One request as the server saw it. Header names are in lower case."""

    method: str
    path: str
    query: dict[str, str]
    body: bytes
    headers: dict[str, str]


Answer = tuple[int, Any]
"""Status, and content: bytes as they are, None for nothing, else JSON; for a redirect the address that it leads to."""


@contextlib.contextmanager
def http_stub(answer: Callable[[Asked], Answer]) -> Iterator[str]:
    """Serve until the block ends; yields the server's address."""

    class Handler(BaseHTTPRequestHandler):
        def _serve(self) -> None:
            parts = urlsplit(self.path)
            body = self.rfile.read(int(self.headers.get("content-length", 0)))
            headers = {name.lower(): value for name, value in self.headers.items()}
            status, content = answer(Asked(self.command, parts.path, dict(parse_qsl(parts.query)), body, headers))
            data = content if isinstance(content, bytes) else b"" if content is None else json.dumps(content).encode()
            self.send_response(status)
            if 300 <= status < 400:
                self.send_header("location", str(content))
            self.send_header("content-length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = _serve

        def log_message(self, format: str, *args: Any) -> None:
            """Stay quiet."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
