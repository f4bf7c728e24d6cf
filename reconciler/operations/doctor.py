"""Look for what this machine lacks, and say how to get it. Reads only; `sluice doctor` prints it."""

from __future__ import annotations

import importlib.util
import shutil
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

from environments.load import Loaded
from environments.spec import RegionSpec
from reconciler.ports.kinds import Check, PlatformKind

_DISK_GB = 2.0


def examine(loaded: Loaded | None, home: Path, kind_of: Callable[[RegionSpec], PlatformKind | None]) -> list[Check]:
    """Return every check; those of an environment only when one is given. `kind_of` gives a region's platform."""
    checks = [_python(), _disk(home), *_modules(), *_programs()]
    if loaded:
        checks += _environment(loaded, kind_of)
    return checks


def _python() -> Check:
    version = ".".join(map(str, sys.version_info[:3]))
    ok = sys.version_info >= (3, 11)
    return Check("python", "ok" if ok else "missing", version, "" if ok else "install Python 3.11 or newer")


def _disk(home: Path) -> Check:
    folder = next(p for p in (home, *home.parents) if p.exists())
    free = shutil.disk_usage(folder).free / 1e9
    ok = free >= _DISK_GB
    return Check("disk", "ok" if ok else "missing", f"{free:.0f} GB free at {folder}", "" if ok else "free some space")


def _modules() -> Iterator[Check]:
    wanted = (
        ("envoy", "the local platform's gateway", "pip install 'sluice[local]'"),
        ("psycopg", "a store on PostgreSQL", "pip install 'sluice[postgres]'"),
        ("mlflow", "the demo's registry", "pip install 'sluice[mlflow]'"),
        ("openfeature", "prompts in applications", "pip install 'sluice[prompts]'"),
        ("locust", "load tests on several machines", "pip install 'sluice[load]'"),
        ("pulumi", "the stacks", "pip install 'sluice[pulumi]'"),
    )
    for module, use, do in wanted:
        there = importlib.util.find_spec(module) is not None or (module == "envoy" and _envoy())
        yield Check(f"package {module}", "ok" if there else "absent", use, "" if there else do)


def _envoy() -> bool:
    return shutil.which("envoy") is not None or Path(sys.executable).with_name("envoy").exists()


def _programs() -> Iterator[Check]:
    for program, use, do in (
        ("go", "builds the engines that `make test` runs", "install Go 1.26"),
        ("pulumi", "previews and updates the stacks", "install the Pulumi CLI"),
    ):
        path = shutil.which(program)
        yield Check(f"program {program}", "ok" if path else "absent", path or use, "" if path else do)


def _environment(loaded: Loaded, kind_of: Callable[[RegionSpec], PlatformKind | None]) -> Iterator[Check]:
    for name, region in sorted(loaded.spec.regions.items()):
        if kind := kind_of(region):
            yield from kind.checks(name, region)
    if loaded.spec.registry.mlflow:
        yield _mlflow(loaded.spec.registry.mlflow)


def _mlflow(address: str) -> Check:
    import httpx

    from environments.redact import redact

    try:
        answered = httpx.get(f"{address.rstrip('/')}/health", timeout=3).status_code == 200
        said = redact(address)
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        answered, said = False, f"{redact(address)}: {type(error).__name__}"
    do = "" if answered else "start it (mlflow server), or correct `registry: {mlflow: …}`"
    return Check("mlflow server", "ok" if answered else "missing", said, do)
