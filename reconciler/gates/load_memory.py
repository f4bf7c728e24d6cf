"""What an undecided load gate measured, kept beside its reports, so that asking it again goes on and not anew.

Every look at the figures spends of the chance to be wrong; a gate that forgot its looks would spend it again.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from reconciler.core.canonical import Json, digest

if TYPE_CHECKING:
    from loadtests.columns import Columns
    from loadtests.compare import Rounds


def subject_of(profile: Json, releases: tuple[str | None, str]) -> str:
    """Return a digest of what was measured: the profile as it was sent, champion and challenger."""
    return digest([profile, list(releases)])


def remember(path: Path, subject: str, rounds: Rounds) -> None:
    """Keep every round's columns; written whole or not at all."""
    import numpy as np

    columns = {
        f"{number}-{arm}-{item.name}": getattr(found, item.name)
        for number, arms in enumerate(rounds.arms)
        for arm, found in enumerate(arms)
        for item in dataclasses.fields(found)
    }
    facts = {"subject": subject, "looks": rounds.looks, "left_out": dataclasses.asdict(rounds.left_out)}
    part = path.with_name(f"{path.name}.partial")
    with part.open("wb") as file:
        np.savez_compressed(file, facts=np.array(json.dumps(facts)), **columns)
    part.replace(path)


def recall(path: Path, subject: str) -> Rounds | None:
    """Return what was measured of the same subject before, None when nothing usable is there."""
    import zipfile

    import numpy as np

    from loadtests.columns import LeftOut
    from loadtests.compare import Rounds

    try:
        with np.load(path, allow_pickle=False) as kept:
            facts = json.loads(str(kept["facts"]))
            if facts["subject"] != subject:
                return None
            arms = _arms(kept)
    except (OSError, EOFError, ValueError, KeyError, TypeError, zipfile.BadZipFile):
        return None
    return Rounds(arms=arms, left_out=LeftOut(**facts["left_out"]), looks=facts["looks"])


def _arms(kept: Mapping[str, Any]) -> list[tuple[Columns, ...]]:
    """Return the columns of each round, champion first, from arrays that are called ROUND-ARM-COLUMN."""
    from loadtests.columns import Columns

    found: dict[str, dict[str, dict[str, Any]]] = {}
    for name in kept:
        if name != "facts":
            number, arm, column = name.split("-")
            found.setdefault(number, {}).setdefault(arm, {})[column] = kept[name]
    in_order = sorted(found.items(), key=lambda item: int(item[0]))
    return [tuple(Columns(**columns) for _, columns in sorted(arms.items())) for _, arms in in_order]
