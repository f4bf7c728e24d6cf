"""The file of approvals beside a saved plan: `plan.json.approvals`, a JSON line each. Imports the core when called."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import TYPE_CHECKING

from environments.errors import SluiceError

if TYPE_CHECKING:
    from reconciler.compose import Composed
    from reconciler.core.attest.dsse import Envelope
    from reconciler.core.plan.plan import Plan
    from reconciler.operations.approve import Granted

AUTHOR_VARIABLE = "SLUICE_AUTHOR"
"""Who made the change, said by the job that plans or applies it: whoever opened the pull request or committed to it.

Several are parted by commas.
"""


def authors_of(plan: Plan) -> tuple[str, ...]:
    """Return who is known to have made a plan: what this process is told, then what the plan says."""
    told = (os.environ.get(AUTHOR_VARIABLE), plan.author)
    names = (name.strip() for each in told if each for name in each.split(","))
    return tuple(dict.fromkeys(name for name in names if name))


def approvals_path(plan: Path) -> Path:
    """Return where the approvals of a saved plan stand."""
    return plan.with_name(plan.name + ".approvals")


def read_approvals(path: Path) -> tuple[Envelope, ...]:
    """Return the envelopes of a file; none when it is not there.

    Raises:
        SluiceError: `APPR-008` it holds something else.
    """
    from reconciler.core.attest.approvals import not_approvals
    from reconciler.core.attest.dsse import bundle_from_text

    try:
        return bundle_from_text(path.read_text())
    except FileNotFoundError:
        return ()
    except (OSError, ValueError) as error:
        raise not_approvals(str(path), str(error)) from error


def write_bundle(path: Path, envelopes: tuple[Envelope, ...]) -> None:
    """Write the file, whole or not at all."""
    from reconciler.core.attest.dsse import bundle_to_text

    partial = path.with_name(path.name + ".partial")
    partial.write_text(bundle_to_text(envelopes))
    partial.replace(path)


async def granted(composed: Composed, made: Plan, saved: tuple[Path, Plan] | None) -> Granted | None:
    """Return who approved what is about to be carried out; None when nobody has to.

    Raises:
        SluiceError: `APPR-009` approvals are asked for and no saved plan was given; those of `operations.approve`.
    """
    from reconciler.core.attest.approvals import rule_of
    from reconciler.operations import approve
    from reconciler.signing.check import verify

    present = read_approvals(approvals_path(saved[0])) if saved else ()
    authors = authors_of(saved[1] if saved else made)
    declared = rule_of(composed.loaded.spec.approvals)
    try:
        return await approve.granted(composed.store, made, declared, present, authors, now=time.time(), verify=verify)
    except SluiceError as error:
        if saved or error.code not in ("APPR-001", "APPR-010"):
            raise
        raise _only_saved(made.environment) from error


def _only_saved(environment: str) -> SluiceError:
    return SluiceError(
        "APPR-009",
        where=environment,
        what="this environment is applied from plans that were approved",
        why="`approvals` of the environment asks for signatures, and they are for one plan",
        do=f"sluice plan {environment} -o plan.json, then sluice approve plan.json, then sluice apply plan.json",
    )
