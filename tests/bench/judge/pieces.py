"""Keep what was measured, a file a case, so that a table can be put together from pieces of one version of the code."""

from __future__ import annotations

import hashlib
import json
import math
import re
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np

import reconciler.core.judge
from tests.bench.judge.catalog import AnyCase
from tests.bench.judge.runs import Outcome
from tests.bench.judge.traffic import Array
from tests.bench.judge.work import Batch, Task

_WORDS = "explain.py"
_MEASURING = ("counting", "events", "late", "peers", "reading", "runs", "traffic", "work")


def version() -> str:
    """Return what tells versions of the judge and of its simulators apart; words, figures and scenarios may change."""
    folder = Path(reconciler.core.judge.__file__).parent
    judge = sorted(path for path in folder.glob("*.py") if path.name != _WORDS)
    own = [Path(__file__).with_name(f"{name}.py") for name in _MEASURING]
    digest = hashlib.sha256()
    for path in (*judge, *own):
        digest.update(path.name.encode() + b"\0" + path.read_bytes() + b"\0")
    return digest.hexdigest()[:12]


class Pieces:
    """The pieces in a folder; those of other versions, and of cases that have changed since, count for nothing."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._version = version()

    def kept(self, cases: Sequence[AnyCase]) -> list[Batch]:
        """Return what is kept of the cases, no more than they ask for."""
        return [batch for case in cases for batch in self._of(case) if batch.first < case.runs]

    def left(self, tasks: Sequence[Task], kept: Sequence[Batch]) -> list[Task]:
        """Return the tasks that are still to be measured."""
        known = {(batch.case.name, batch.first): len(batch.judged.exposed) for batch in kept}
        return [task for task in tasks if known.get((task.case.name, task.first), 0) < task.runs]

    def keep(self, case: AnyCase, batches: Sequence[Batch]) -> None:
        """Write all batches of one case."""
        self._folder.mkdir(parents=True, exist_ok=True)
        body = {"version": self._version, "case": _identity(case), "batches": [_to_json(batch) for batch in batches]}
        path = self._path(case)
        written = path.with_suffix(".new")
        written.write_text(json.dumps(body, allow_nan=False) + "\n")
        written.replace(path)

    def _of(self, case: AnyCase) -> list[Batch]:
        path = self._path(case)
        if not path.exists():
            return []
        body = json.loads(path.read_text())
        if body["version"] != self._version or body["case"] != _identity(case):
            return []
        return [_from_json(case, each) for each in body["batches"]]

    def _path(self, case: AnyCase) -> Path:
        words = re.sub(r"[^a-z0-9]+", "-", f"{case.group} {case.name}".lower()).strip("-")
        return self._folder / f"{words}.json"


def _identity(case: AnyCase) -> str:
    """Return what a run of the case depends on; how many there are does not change any of them."""
    return repr(replace(case, runs=0))


def _to_json(batch: Batch) -> dict[str, Any]:
    return {
        "first": batch.first,
        "judged": _outcome_to_json(batch.judged),
        "routing_faults": batch.routing_faults,
        "sigmas": _plain(batch.sigmas),
        "kayenta": None if batch.kayenta is None else _outcome_to_json(batch.kayenta),
        "fired": None if batch.fired is None else _plain(batch.fired),
        "threshold_exposed": None if batch.threshold_exposed is None else _plain(batch.threshold_exposed),
    }


def _from_json(case: AnyCase, body: dict[str, Any]) -> Batch:
    kayenta, fired, exposed = body["kayenta"], body["fired"], body["threshold_exposed"]
    return Batch(
        case,
        body["first"],
        _outcome(body["judged"]),
        body["routing_faults"],
        _array(body["sigmas"], math.nan),
        None if kayenta is None else _outcome(kayenta),
        None if fired is None else _array(fired, math.nan),
        None if exposed is None else _array(exposed, math.nan),
    )


def _outcome_to_json(outcome: Outcome) -> dict[str, Any]:
    return {name: _plain(values) for name, values in asdict(outcome).items()}


def _outcome(body: dict[str, Any]) -> Outcome:
    return Outcome(**{name: _array(values, math.inf) for name, values in body.items()})


def _plain(values: Array) -> list[float | None]:
    """Return numbers as JSON has them; never, and not measured, are null."""
    return [round(value, 6) if math.isfinite(value) else None for value in values.tolist()]


def _array(values: list[float | None], missing: float) -> Array:
    return np.array([missing if value is None else value for value in values], dtype=np.float64)
