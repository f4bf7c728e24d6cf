"""MLflow's REST API 2.0, as far as a registry of releases needs it. Imports httpx, not MLflow, which takes seconds.

Source: https://mlflow.org/docs/latest/api_reference/rest-api.html
"""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from environments.errors import SluiceError
from environments.redact import redact
from environments.trust import TRACKING_URI, TRUSTED_HOSTS, origin_of, trust_of

if TYPE_CHECKING:
    import httpx

_ABSENT = ("RESOURCE_DOES_NOT_EXIST", "ENDPOINT_NOT_FOUND")
_TIMEOUT_S = 30.0
_CREDENTIALS = ("MLFLOW_TRACKING_TOKEN", "MLFLOW_TRACKING_USERNAME")


class MlflowApi:
    """Calls one tracking server.

    Credentials come from the variables that MLflow's own clients read, and go to servers that `Trust` allows alone.
    """

    def __init__(self, url: str) -> None:
        self._url = url.rstrip("/")

    @property
    def url(self) -> str:
        """Return the server's address without credentials."""
        return redact(self._url)

    async def get(self, path: str, where: str, **query: str) -> dict[str, Any]:
        """Return the JSON answer to a GET.

        Raises:
            SluiceError: `REG-001` the server has no such thing, `REG-003` it is out of reach or answers otherwise.
        """
        return await self._call("GET", path, where, params=query)

    async def post(self, path: str, where: str, **body: Any) -> dict[str, Any]:
        """Return the JSON answer to a POST."""
        return await self._call("POST", path, where, json=body)

    async def delete(self, path: str, where: str, **body: str) -> dict[str, Any]:
        """Return the JSON answer to a DELETE."""
        return await self._call("DELETE", path, where, json=body)

    @asynccontextmanager
    async def download(self, path: str, where: str) -> AsyncIterator[AsyncIterator[bytes]]:
        """Stream one artifact through the server's proxy; `path` is relative to its artifact root."""
        import httpx

        try:
            async with self._client() as client, client.stream("GET", f"{_ARTIFACTS}/{quote(path)}") as answer:
                if answer.status_code != 200:
                    await answer.aread()
                    raise self._refused(answer, where)
                yield answer.aiter_bytes(1 << 20)
        except httpx.HTTPError as error:
            raise self._unreachable(error, where) from error

    async def list_artifacts(self, path: str, where: str) -> list[dict[str, Any]]:
        """Return `{path, is_dir, file_size}` of what lies directly under `path`; empty when nothing does."""
        answer = await self._call("GET", _ARTIFACTS, where, params={"path": path})
        files: list[dict[str, Any]] = answer.get("files", [])
        return files

    async def upload(self, path: str, where: str, content: bytes) -> None:
        """Store one artifact through the server's proxy; `path` is relative to its artifact root."""
        await self._call("PUT", f"{_ARTIFACTS}/{quote(path)}", where, content=content)

    async def _call(self, method: str, path: str, where: str, **content: Any) -> dict[str, Any]:
        import httpx

        path = path if path.startswith("/") else f"/api/2.0/mlflow/{path}"
        try:
            async with self._client() as client:
                answer = await client.request(method, path, **content)
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            raise self._unreachable(error, where) from error
        if answer.status_code != 200:
            raise self._refused(answer, where)
        return _json_object(answer)

    def _client(self) -> httpx.AsyncClient:
        import httpx

        token, user = (os.environ.get(name) if self._is_trusted() else None for name in _CREDENTIALS)
        return httpx.AsyncClient(
            base_url=self._url,
            timeout=_TIMEOUT_S,
            verify=not self._url.lower().startswith(
                "http:"
            ),  # reading certificates takes 40 ms a client, for nothing over http
            headers={"Authorization": f"Bearer {token}"} if token else {},
            auth=(user, os.environ.get("MLFLOW_TRACKING_PASSWORD", "")) if user and not token else None,
        )

    def _is_trusted(self) -> bool:
        """Return whether credentials may go there: the environment file, which names the server, cannot say so."""
        return trust_of(os.environ).allows_host(self._url)

    def _refused(self, answer: httpx.Response, where: str) -> SluiceError:
        said = _json_object(answer)
        why = redact(str(said.get("message") or f"HTTP {answer.status_code}"))[:300]
        if said.get("error_code") in _ABSENT:
            return SluiceError(
                "REG-001",
                where=where,
                what=f"MLflow at {self.url} has no such thing",
                why=why,
                do="correct the reference, or register that version first",
            )
        do = "check `registry: {mlflow: …}` and that the server is a tracking server that serves artifacts"
        if answer.status_code in (401, 403):
            do = "set MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD, or MLFLOW_TRACKING_TOKEN"
            if not self._is_trusted():
                host = origin_of(self._url)[1]
                do += f"; they go to this server only with {TRACKING_URI} naming it, or {TRUSTED_HOSTS}={host}"
        what = f"MLflow at {self.url} refused with HTTP {answer.status_code}"
        return SluiceError("REG-003", where=where, what=what, why=why, do=do, retryable=answer.status_code >= 500)

    def _unreachable(self, error: Exception, where: str) -> SluiceError:
        return SluiceError(
            "REG-003",
            where=where,
            what=f"MLflow at {self.url} is out of reach",
            why=redact(str(error) or type(error).__name__),
            do="start the server, or correct `registry: {mlflow: …}`",
            retryable=True,
        )


_ARTIFACTS = "/api/2.0/mlflow-artifacts/artifacts"


def _json_object(answer: httpx.Response) -> dict[str, Any]:
    try:
        content = answer.json()
    except ValueError:
        return {}
    return content if isinstance(content, dict) else {}
