"""Requests to one API server over HTTP; every failure is a refusal, no answer, or no credentials."""

from __future__ import annotations

import contextlib
import json
import ssl
from collections.abc import AsyncIterator, Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

from reconciler.kubernetes.answers import NoAnswer, NoCredentials, refusal_of
from reconciler.kubernetes.kinds import Body

if TYPE_CHECKING:
    import httpx2


@dataclass(frozen=True)
class Request:
    """One request. An empty value of a parameter is not sent."""

    method: str
    path: str
    params: Mapping[str, str] = field(default_factory=dict)
    body: Body | None = None
    content_type: str = "application/json"


@dataclass(frozen=True)
class Answer:
    """An answer of 2xx."""

    text: str
    warnings: tuple[str, ...] = ()

    def body(self) -> Body:
        """Return the object in it.

        Raises:
            NoAnswer: it is no object, so it is not the API server that answered.
        """
        try:
            found = json.loads(self.text)
        except ValueError as error:
            raise NoAnswer(f"the answer is not JSON: {self.text[:100]!r}") from error
        if not isinstance(found, dict):
            raise NoAnswer(f"the answer is no object: {self.text[:100]!r}")
        return found


class Wire(Protocol):
    """What a client and a reflector need of HTTP. Raises Refusal, NoAnswer and NoCredentials, and nothing else."""

    async def send(self, request: Request) -> Answer:
        """Send and return an answer of 2xx."""
        ...

    def lines(self, request: Request, idle_s: float) -> contextlib.AbstractAsyncContextManager[AsyncIterator[bytes]]:
        """Open a stream and return its lines; none for `idle_s` is NoAnswer, a regular end is the end."""
        ...


class HttpWire:
    """A wire over lightkube's HTTP client."""

    def __init__(self, http: httpx2.AsyncClient) -> None:
        self._http = http

    async def send(self, request: Request) -> Answer:
        """Send and return an answer of 2xx."""
        with _translated():
            answer = await self._http.send(self._built(request))
        if not answer.is_success:
            raise refusal_of(answer.status_code, answer.headers, answer.text)
        warnings = tuple(_warning(text) for text in answer.headers.get_list("warning"))
        return Answer(answer.text, warnings)

    @contextlib.asynccontextmanager
    async def lines(self, request: Request, idle_s: float) -> AsyncIterator[AsyncIterator[bytes]]:
        """Open a stream and return its lines."""
        with _translated(f"nothing was heard for {idle_s:.3g} s"):
            answer = await self._http.send(self._built(request, idle_s), stream=True)
        try:
            if not answer.is_success:
                with _translated():
                    await answer.aread()
                raise refusal_of(answer.status_code, answer.headers, answer.text)
            yield _read(answer, idle_s)
        finally:
            await answer.aclose()

    async def close(self) -> None:
        """Close every connection."""
        await self._http.aclose()

    def _built(self, request: Request, idle_s: float | None = None) -> httpx2.Request:
        import httpx2

        usual = self._http.timeout
        timeout = usual if idle_s is None else httpx2.Timeout(idle_s, connect=usual.connect)
        content = None if request.body is None else json.dumps(request.body)
        # no parameters are None: an empty mapping would take away a query that stands in the path
        params = {name: value for name, value in request.params.items() if value} or None
        headers = {"Content-Type": request.content_type} if content is not None else {}
        return self._http.build_request(
            request.method, request.path, params=params, content=content, headers=headers, timeout=timeout
        )


async def _read(answer: httpx2.Response, idle_s: float) -> AsyncIterator[bytes]:
    """Yield what stands between line feeds; a line separator of Unicode is part of whatever text holds it."""
    rest = b""
    with _translated(f"nothing was heard for {idle_s:.3g} s"):
        async for chunk in answer.aiter_bytes():
            *lines, rest = (rest + chunk).split(b"\n")
            for line in filter(bytes.strip, lines):
                yield line
    if rest.strip():
        yield rest


@contextlib.contextmanager
def _translated(late: str = "it took too long") -> Iterator[None]:
    """Turn what HTTP, TLS and the credential's program raise into what callers of a wire know."""
    import httpx2
    from lightkube.core.exceptions import ConfigError

    try:
        yield
    except httpx2.TimeoutException as error:
        raise NoAnswer(late) from error
    except (httpx2.HTTPError, httpx2.InvalidURL, ssl.SSLError) as error:
        raise NoAnswer(str(error) or type(error).__name__, tls="CERTIFICATE_VERIFY_FAILED" in str(error)) from error
    except (ConfigError, OSError, KeyError, ValueError) as error:
        raise NoCredentials(f"{type(error).__name__}: {error}") from error


def _warning(header: str) -> str:
    """Return the text of a header `299 - "text"`."""
    return header.partition('"')[2].rpartition('"')[0].replace('\\"', '"') or header
