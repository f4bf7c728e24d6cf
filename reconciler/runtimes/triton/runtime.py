"""The Triton runtime: how a release starts, when it serves, how it is warmed up and what it counts.

Imports the ports, the core and `environments`. Made by the registry of runtimes, called by the loop and platforms.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping, Sequence
from http import HTTPStatus
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from environments.errors import SluiceError
from reconciler.core.model.release import Release
from reconciler.ports import KSERVE, Offers, PlannedFiles, Scraped, ServerOptions, SlotCounts
from reconciler.runtimes.asking import ASK_TIMEOUT_S, WARM_TIMEOUT_S, client_of, get, unreadable, warmed
from reconciler.runtimes.triton.config import RELEASE_PARAMETER
from reconciler.runtimes.triton.counts import HEARTBEAT, METRICS, counts_from, counts_of
from reconciler.runtimes.triton.layout import CONTROL, MODELS, REPOSITORY, lay_out, plan_files
from reconciler.runtimes.triton.options import METRICS_OFFSET, check_engine, server_arguments
from reconciler.runtimes.triton.warmup import Warmup, failure_in

if TYPE_CHECKING:
    import httpx


class TritonRuntime:
    """Adapter of the `Runtime` port for `tritonserver`, one a slot. Has no state.

    Clients speak KServe's protocol: `/v2/models/ENDPOINT/infer`, and `/generate` and `/generate_stream`.
    """

    ports = 3
    offers = Offers(protocol=KSERVE, perhaps=frozenset({"ttft"}))
    metrics, heartbeat = METRICS, HEARTBEAT

    def check(self, engine: Mapping[str, Any]) -> None:
        """Refuse engine arguments that Triton does not know or Sluice sets itself.

        Raises:
            SluiceError: `RUN-001`, `RUN-006`.
        """
        check_engine(engine)

    def lay_out(self, release: Release, *, paths: Mapping[str, str], folder: Path) -> Mapping[str, str]:
        """Write the release's model repository below `folder`, and return the paths with what `options` needs of it.

        Raises:
            SluiceError: `RUN-007`, `RUN-008` the model cannot be served; `RUN-009` the disk, retryable.
        """
        return lay_out(release, paths, folder)

    def plan_files(self, release: Release, *, source: Path, model_path: str, root: str, control: str) -> PlannedFiles:
        """Return the release's model repository, for who brings it to a server without a folder of this machine.

        Raises:
            SluiceError: `RUN-007`, `RUN-008` the model cannot be served; `RUN-009` it cannot be read.
        """
        return plan_files(release, source, model_path=model_path, root=root, control=control)

    def options(self, release: Release, *, paths: Mapping[str, str], host: str, port: int) -> ServerOptions:
        """Return the arguments of `tritonserver`: HTTP at `port`, gRPC and metrics at the two that follow.

        Raises:
            SluiceError: `RUN-001`, `RUN-006` an engine argument, `RUN-004` adapters cannot be used.
        """
        if release.adapters:
            raise SluiceError(
                "RUN-004",
                where=release.id,
                what=f"the adapters {', '.join(sorted(release.adapters))} cannot be loaded",
                why="Triton loads adapters from the files of a model, which this build does not write",
                do="serve them with `runtime: vllm`, or bring them in the model's own folder",
            )
        arguments = server_arguments(
            release.engine,
            repository=paths[REPOSITORY],
            models=tuple(paths[MODELS].split(",")),
            control=paths[CONTROL],
            host=host,
            port=port,
        )
        return ServerOptions(arguments)

    async def ready(self, url: str, release: Release, *, model_path: str = "") -> str | None:
        """Return None when the server and the release's model are ready and its configuration names the release.

        Raises:
            SluiceError: `RUN-002` another release is served there.
        """
        model = f"/v2/models/{release.endpoint}"
        try:
            async with asyncio.timeout(ASK_TIMEOUT_S):
                for path in ("/v2/health/ready", f"{model}/ready"):
                    status, _ = await get(url, path)
                    if status != HTTPStatus.OK:
                        return f"{path} answers {status}"
                config, metadata = await _json(url, f"{model}/config"), await _json(url, model)
        except (OSError, ValueError) as error:  # TimeoutError is an OSError
            return f"no answer yet ({type(error).__name__})"
        return _proof(config, metadata, release, url)

    async def warm(self, url: str, release: Release, requests: int) -> None:
        """Send `requests` requests, a few at once, made of the release's `warmup_request` or of the model's inputs.

        Raises:
            SluiceError: `RUN-003` one of them failed, named with its number.
        """
        if requests <= 0:
            return
        async with client_of(url, WARM_TIMEOUT_S) as client:
            wanted = await _wanted(client, release)
            await warmed(requests, lambda number: _warm_once(client, wanted, number, release))

    def counts_from(self, samples: Sequence[Scraped], *, model: str, where: str) -> SlotCounts:
        """Return the counters of a server's model whose samples somebody else has scraped; they tell no server's id.

        Raises:
            SluiceError: `RUN-005` (retryable) they lack what is judged.
        """
        return counts_from(samples, model=model, server="", where=where)

    async def counts(self, url: str) -> SlotCounts:
        """Return the counters of the served model since the server started.

        Raises:
            SluiceError: `RUN-005` they cannot be read, retryable.
        """
        import httpx

        try:
            async with client_of(url, ASK_TIMEOUT_S) as client:
                server, model = await asyncio.gather(_asked(client, "/v2"), _served(client))
                metrics = await client.get(f"{metrics_url(url)}/metrics")
                metrics.raise_for_status()
                name = str(server["name"])
        except (httpx.HTTPError, ValueError, KeyError, TypeError) as error:
            raise unreadable(url, error) from error
        return counts_of(metrics.text, model=model, server=name, where=url)


def metrics_url(url: str) -> str:
    """Return where a server whose HTTP port is in `url` tells its metrics: two ports above, as by Triton's default.

    A server that is reached through a door has the port in the door's path: `…/NAME+2`.
    """
    parts = urlsplit(url)
    if parts.path.strip("/"):
        return f"{url.rstrip('/')}+{METRICS_OFFSET}"
    return f"{parts.scheme}://{parts.hostname}:{(parts.port or 8000) + METRICS_OFFSET}"


async def _json(url: str, path: str) -> dict[str, Any]:
    """Return a JSON object that the server tells.

    Raises:
        ValueError: it tells none, which a model that has just been unloaded does.
    """
    status, text = await get(url, path)
    told = json.loads(text) if status == HTTPStatus.OK else None
    if not isinstance(told, dict):
        raise ValueError(f"{path} answers {status}")
    return told


async def _asked(client: httpx.AsyncClient, path: str) -> Any:
    answer = await client.get(path)
    answer.raise_for_status()
    return answer.json()


async def _served(client: httpx.AsyncClient) -> str:
    """Return the model that clients reach: the only one, or the one whose configuration names a release."""
    told = await _asked(client, "/v2/models/stats")
    names = sorted({str(model["name"]) for model in told["model_stats"]})
    if len(names) == 1:
        return names[0]
    for name in names:
        if _release_in(await _asked(client, f"/v2/models/{name}/config")):
            return name
    raise ValueError(f"none of its models names a release: {', '.join(names) or 'it has none'}")


def _release_in(config: Mapping[str, Any]) -> str:
    """Return the release that a configuration names; empty where it names none."""
    told = config.get("parameters", {}).get(RELEASE_PARAMETER, {})
    return str(told.get("string_value", ""))


def _proof(config: Mapping[str, Any], metadata: Mapping[str, Any], release: Release, url: str) -> str | None:
    """Return None when a model is the release's, in the one version that its configuration asks for.

    Raises:
        SluiceError: `RUN-002` it is another release's.
    """
    named = _release_in(config)
    if named != release.id:
        raise _wrong_model(release, url, f"it serves {named or 'a model that names no release'}, not {release.id}")
    policy = config.get("version_policy", {}).get("specific", {}).get("versions", [])
    asked, served = [str(each) for each in policy], [str(each) for each in metadata.get("versions", [])]
    if asked != served:
        return f"it serves the versions {', '.join(served) or 'none'}; the release is in {', '.join(asked)}"
    return None


def _wrong_model(release: Release, url: str, what: str) -> SluiceError:
    return SluiceError(
        "RUN-002",
        where=f"{release.id} at {url}",
        what=what,
        why="waiting will not change what a server was started with",
        do="look at the slot's log and at `serve_command`: it must pass on --model-repository and --load-model",
    )


async def _wanted(client: httpx.AsyncClient, release: Release) -> Warmup:
    """Return what requests look like, as the server itself tells."""
    import httpx

    try:
        config = await _asked(client, f"/v2/models/{release.endpoint}/config")
    except (httpx.HTTPError, ValueError) as error:
        raise _cold(release, 0, f"its configuration cannot be read: {error}") from error
    return Warmup(release.endpoint, config, release.engine.get("warmup_request"))


async def _warm_once(client: httpx.AsyncClient, wanted: Warmup, number: int, release: Release) -> None:
    import httpx

    request = wanted.request(number)
    headers = {"content-type": "application/json", **request.headers}
    try:
        answer = await client.post(request.path, content=request.content, headers=headers)
    except httpx.HTTPError as error:
        raise _cold(release, number, f"{type(error).__name__}: {error}") from error
    if answer.status_code != httpx.codes.OK:
        raise _cold(release, number, f"{answer.status_code}: {answer.text[:300]}")
    if request.streamed and (why := failure_in(answer.text)):
        raise _cold(release, number, why)


def _cold(release: Release, number: int, why: str) -> SluiceError:
    return SluiceError(
        "RUN-003",
        where=release.id,
        what=f'warm-up request {number + 1} to "{release.endpoint}" failed',
        why=why,
        do="look at the slot's log, or give the release a `warmup_request` that its model takes",
        retryable=True,
    )
