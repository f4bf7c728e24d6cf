"""`sluice plan --against REF`: both revisions of a file with ports that ask nobody. Imports compose when called."""

from __future__ import annotations

import asyncio
import contextlib
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

from environments.errors import SluiceError
from reconciler.cli.common import policy_ids

if TYPE_CHECKING:
    from environments.load import Loaded
    from reconciler.compose import Composed
    from reconciler.core.plan.plan import Plan, Scope


def plan_against_revision(loaded: Loaded, ref: str, scope: Scope) -> Plan:
    """Return the plan from a file as it was at `ref` to the file as it is; live state, store and registry are not read.

    Raises:
        SluiceError: `PLAN-009` git has no such revision, or its file is refused now; those of `plan_against`.
    """
    from environments.revision import revision
    from reconciler.planning.unread import plan_against

    with contextlib.ExitStack() as opened:
        scratch = Path(opened.enter_context(tempfile.TemporaryDirectory(prefix="sluice-plan-")))
        other = opened.enter_context(revision(loaded.root, ref))
        before = _loaded(other.root / loaded.path.absolute().relative_to(loaded.root), ref)
        now = _composed(loaded, (loaded.root,), scratch / "now")
        then = _composed(before, (other.root, loaded.root), scratch / "then") if before else None

        async def planned() -> Plan:
            try:
                earlier = then.planner() if then else None
                return await plan_against(now.planner(), earlier, scope, name=other.name, now=time.time())
            finally:
                for each in (now, then):
                    if each is not None:
                        await each.close()

        return asyncio.run(planned())


def _loaded(path: Path, ref: str) -> Loaded | None:
    """Return the file at the revision, None where it was not there."""
    from environments.load import load

    if not path.exists():
        return None
    try:
        return load(path, policy_ids=policy_ids())
    except SluiceError as error:
        first = error.problems[0]
        raise SluiceError(
            "PLAN-009",
            where=ref,
            what=f"{path.name} at this revision is refused",
            why=f"{first.where}: {first.what}" if first.where else first.what,
            do="compare with a revision whose file this version of Sluice reads",
        ) from error


def _composed(loaded: Loaded, roots: tuple[Path, ...], home: Path) -> Composed:
    from reconciler.compose import compose
    from reconciler.registries.by_text import ByText
    from reconciler.store.connect import open_store

    home.mkdir()
    nothing = open_store("sqlite:///nothing.db", home=home, root=home)
    return compose(loaded, store=nothing, registry=ByText(roots, home))
