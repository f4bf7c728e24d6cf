"""The vLLM runtime: how a release starts, when it serves, how it is warmed up and what it counts.

Imports the ports, the core and `environments`. Made by the registry of runtimes, called by the loop and platforms.
"""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from environments.errors import SluiceError
from reconciler.core.model.release import Release
from reconciler.ports import OPENAI, KvCache, Offers, Scraped, ServerOptions, SlotCounts
from reconciler.runtimes.asking import ASK_TIMEOUT_S, WARM_TIMEOUT_S, client_of, get, unreadable, warmed
from reconciler.runtimes.vllm_cache import cache_of
from reconciler.runtimes.vllm_command import check_engine, serve_arguments
from reconciler.runtimes.vllm_counts import HEARTBEAT, METRICS, counts_from, counts_of

if TYPE_CHECKING:
    import httpx

_WARM_TOKENS = 8


class VllmRuntime:
    """Adapter of the `Runtime` port for vLLM and whatever else speaks its interface. Has no state."""

    ports = 1
    offers = Offers(protocol=OPENAI, latencies=frozenset({"ttft", "itl"}))
    metrics, heartbeat = METRICS, HEARTBEAT

    def check(self, engine: Mapping[str, Any]) -> None:
        """Refuse engine arguments that vLLM does not know or Sluice sets itself.

        Raises:
            SluiceError: `RUN-001`.
        """
        check_engine(engine)

    def options(self, release: Release, *, paths: Mapping[str, str], host: str, port: int) -> ServerOptions:
        """Return the arguments of `vllm serve` that serve `release` at `host` and `port`.

        Raises:
            SluiceError: `RUN-001`, `RUN-004`.
        """
        return ServerOptions(serve_arguments(release, paths=paths, host=host, port=port))

    async def ready(self, url: str, release: Release, *, model_path: str = "") -> str | None:
        """Return None when the server is healthy and names the endpoint, its adapters and its folder, else why not.

        Raises:
            SluiceError: `RUN-002` another model is served there.
        """
        try:
            async with asyncio.timeout(ASK_TIMEOUT_S):
                health, _ = await get(url, "/health")
                if health != HTTPStatus.OK:
                    return f"/health answers {health}"
                status, models = await get(url, "/v1/models")
        except (OSError, ValueError) as error:  # TimeoutError is an OSError
            return f"no answer yet ({type(error).__name__})"
        if status != HTTPStatus.OK:
            return f"/v1/models answers {status}"
        _check_served(models, release, url, model_path)
        return None

    async def warm(self, url: str, release: Release, requests: int) -> None:
        """Send `requests` streaming requests, a few at once, in turn to the base model and each adapter.

        Raises:
            SluiceError: `RUN-003` one of them failed, named with its number.
        """
        names = (release.endpoint, *sorted(release.adapters))
        async with client_of(url, WARM_TIMEOUT_S) as client:

            async def one(number: int) -> None:
                await _warm_once(client, names[number % len(names)], number, release)

            await warmed(requests, one)

    def counts_from(self, samples: Sequence[Scraped], *, model: str, where: str) -> SlotCounts:
        """Return the counters of a server whose samples somebody else has scraped; all it serves is that model's.

        Raises:
            SluiceError: `RUN-005` (retryable) they lack what is judged.
        """
        return counts_from(samples, where=where)

    async def counts(self, url: str) -> SlotCounts:
        """Return the server's counters since it started.

        Raises:
            SluiceError: `RUN-005` they cannot be read, retryable.
        """
        return counts_of(await _metrics(url), where=url)

    async def kv_cache(self, url: str) -> KvCache | None:
        """Return the server's KV cache; None for one that does not say, as vLLM did before 0.32.

        Raises:
            SluiceError: `RUN-005` it cannot be read, retryable.
        """
        return cache_of(await _metrics(url))


async def _metrics(url: str) -> str:
    import httpx

    async with client_of(url, ASK_TIMEOUT_S) as client:
        try:
            answer = await client.get("/metrics")
            answer.raise_for_status()
        except httpx.HTTPError as error:
            raise unreadable(url, error) from error
    return answer.text


def _check_served(text: str, release: Release, url: str, model_path: str) -> None:
    """Raise `RUN-002` unless the list of models names the endpoint and, where both tell it, the model's folder."""
    try:
        served = {model["id"]: model.get("root") for model in json.loads(text)["data"]}
    except (ValueError, KeyError, TypeError) as error:
        raise _wrong_model(release, url, "its /v1/models is not a list of models", str(error)) from error
    if release.endpoint not in served:
        names = ", ".join(sorted(served)) or "nothing"
        raise _wrong_model(release, url, f'it serves {names}, not "{release.endpoint}"')
    if missing := sorted(set(release.adapters) - set(served)):
        raise _wrong_model(release, url, f"it has not loaded the adapters {', '.join(missing)}")
    root = served[release.endpoint]
    if root and _differ(model_path, root):
        raise _wrong_model(release, url, f"its weights come from {root}, the release's from {model_path}")


def _differ(path: str, root: str) -> bool:
    """Say whether two absolute paths are different folders; a `root` that is no path proves nothing."""
    if not (os.path.isabs(path) and os.path.isabs(root)):
        return False
    return os.path.realpath(path) != os.path.realpath(root)


def _wrong_model(release: Release, url: str, what: str, why: str = "") -> SluiceError:
    return SluiceError(
        "RUN-002",
        where=f"{release.id} at {url}",
        what=what,
        why=why or "waiting will not change what a server was started with",
        do="look at the slot's log and at `serve_command`: it must pass on MODEL_DIR and --served-model-name",
    )


async def _warm_once(client: httpx.AsyncClient, model: str, number: int, release: Release) -> None:
    """Stream one answer to its end; prompts differ, so that no prefix cache answers for the model."""
    import httpx

    prompt = f"Request {number} that warms up the server: where is my order, and when will it arrive?"
    body = {"model": model, "prompt": prompt, "max_tokens": _WARM_TOKENS, "stream": True, "temperature": 0}
    try:
        async with client.stream("POST", "/v1/completions", json=body) as answer:
            if answer.status_code != httpx.codes.OK:
                raise _cold(release, model, number, f"{answer.status_code}: {(await answer.aread())[:300]!r}")
            lines = [line async for line in answer.aiter_lines() if line.startswith("data:")]
    except httpx.HTTPError as error:
        raise _cold(release, model, number, f"{type(error).__name__}: {error}") from error
    if len(lines) < 2 or lines[-1].removeprefix("data:").strip() != "[DONE]":
        raise _cold(release, model, number, f"the stream ended after {len(lines)} events without its end")


def _cold(release: Release, model: str, number: int, why: str) -> SluiceError:
    return SluiceError(
        "RUN-003",
        where=release.id,
        what=f'warm-up request {number + 1} to "{model}" failed',
        why=why,
        do="look at the slot's log; the champion still serves",
        retryable=True,
    )
