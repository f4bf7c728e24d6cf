"""One HTTP GET to a server on this machine: a whole client takes longer to import than this takes to run."""

from __future__ import annotations

import asyncio

import h11

_LIMIT = 64 << 20
_BLOCK = 64 << 10


async def get(host: str, port: int, path: str) -> tuple[int, str]:
    """Return status and body of a GET without TLS; the caller sets the time limit.

    Raises:
        OSError: no connection. ValueError: the answer is not HTTP, was cut short, is longer than 64 MiB or no UTF-8.
    """
    reader, writer = await asyncio.open_connection(host, port)
    try:
        http = h11.Connection(h11.CLIENT)
        asking = [("host", f"{host}:{port}"), ("connection", "close")]
        writer.write(http.send(h11.Request(method="GET", target=path, headers=asking)) or b"")
        writer.write(http.send(h11.EndOfMessage()) or b"")
        return await _answer(http, reader)
    except h11.ProtocolError as error:
        raise ValueError(f"not a whole HTTP answer: {error}") from error
    finally:
        writer.close()


async def _answer(http: h11.Connection, reader: asyncio.StreamReader) -> tuple[int, str]:
    """Read to the end of the answer, not to that of the connection, which a server may keep."""
    status, body = 0, bytearray()
    while True:
        match http.next_event():
            case h11.NEED_DATA:
                http.receive_data(await reader.read(_BLOCK))
            case h11.Response(status_code=code):
                status = code
            case h11.Data(data=data):
                body += data
            case h11.EndOfMessage():
                return status, body.decode()
            case h11.ConnectionClosed():
                raise ValueError("the server closed the connection without an answer")
            case _:
                pass
        if len(body) > _LIMIT:
            raise ValueError(f"the answer is longer than {_LIMIT} bytes")
