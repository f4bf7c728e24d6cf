"""Rollouts of another environment, from the store that its own file names. Reads only.

`reconciler.compose` gives it to the planner: a policy may ask that a release has served elsewhere first.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from environments.errors import SluiceError
from environments.load import Loaded, load
from reconciler.core.model.rollout import Rollout, rollout_from_json
from reconciler.store.connect import open_store, sqlite_path

ROLLOUTS_MAX = 500


async def rollouts_elsewhere(loaded: Loaded, home: Path, environment: str) -> Sequence[Rollout] | str:
    """Return the ended rollouts of an environment beside this one, newest first, or why nobody can read them.

    Nothing is created: a database that is not there yet is one that cannot be read.
    """
    if environment == loaded.spec.environment:
        return f"{environment} is this environment itself"
    try:
        url = load(loaded.path.parent / f"{environment}.yaml", unset="keep").spec.store
        if url.startswith("sqlite:") and not (path := sqlite_path(url, home=home, root=loaded.root)).exists():
            return f"{path.name}, the store of {environment}, is not on this machine"
        store = open_store(url, home=home, root=loaded.root)
        try:
            stored = await store.rollouts(environment, active=False, limit=ROLLOUTS_MAX)
        finally:
            await store.close()
        return [rollout_from_json(each.body) for each in stored]
    except SluiceError as error:
        return f"the store of {environment} cannot be read: {error.code}: {error.problem.what}"
