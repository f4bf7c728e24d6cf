"""What earlier versions stored is read, and a rollout that one of them left half way is driven to its end.

`stored/vN` holds what version N wrote: a store as SQL, with a promoted rollout, one that was left at its second step,
ticks, a ledger and recorded facts; and a slot's record of the local platform. Never change what stands there.
"""

from __future__ import annotations

import json
import shutil
import sqlite3
from pathlib import Path

import pytest

from environments.errors import SluiceError
from environments.names import Address
from reconciler.core.model.rollout import READ, SCHEMA, Phase, rollout_from_json, rollout_to_json
from reconciler.evidence.noise import learned_noise
from reconciler.planning.history import recall
from reconciler.platforms.local.state import read_slot
from reconciler.ports import SlotAddress, Store, finished
from reconciler.store.connect import open_store
from tests.support.builders.releases import ENVIRONMENT, release
from tests.support.fakes.loop_world import LoopWorld

VERSIONS = sorted((Path(__file__).parent / "stored").iterdir())
CHAT = Address(ENVIRONMENT, "local", "chat")


@pytest.fixture(params=VERSIONS, ids=lambda folder: folder.name)
def stored(request: pytest.FixtureRequest) -> Path:
    """Return the folder of one version."""
    folder: Path = request.param
    return folder


def opened(stored: Path, home: Path, **more: object) -> Store:
    """Return the store that a version left, as this version opens it."""
    (home / ".sluice").mkdir(parents=True, exist_ok=True)
    with sqlite3.connect(home / "store.db") as database:
        database.executescript((stored / "store.sql").read_text())
    return open_store("sqlite:///store.db", home=home / ".sluice", root=home, **more)  # type: ignore[arg-type]


def test_every_version_before_this_one_has_its_folder() -> None:
    assert [f"sluice/rollout/{folder.name}" for folder in VERSIONS] == [each for each in READ if each != SCHEMA]


async def test_a_store_is_read_and_its_ledger_holds(stored: Path, tmp_path: Path) -> None:
    store = opened(stored, tmp_path)
    assert (await store.verify(ENVIRONMENT)).ok
    left, promoted = (rollout_from_json(s.body) for s in await store.rollouts(ENVIRONMENT))
    assert (promoted.phase, promoted.regions[0].gate("eval") is not None) == (Phase.PROMOTED, True)
    assert (left.regions[0].phase, left.regions[0].step) == (Phase.SHIFTING, 1)
    assert rollout_from_json(rollout_to_json(left)) == left
    recalled = await recall(store, ENVIRONMENT)
    assert recalled.facts[CHAT]["slots"]
    assert recalled.measured[CHAT].rate_rps == 12.5
    assert await learned_noise(store, ENVIRONMENT, "chat") == 0.05
    await store.close()


async def test_a_rollout_that_was_left_half_way_is_taken_up_and_ends(stored: Path, tmp_path: Path) -> None:
    world = LoopWorld(tmp_path / "world")
    await world.store.close()
    world.store = opened(stored, tmp_path, clock=lambda: world.now)
    (active,) = await world.store.rollouts(ENVIRONMENT, active=True)
    rollout = rollout_from_json(active.body)
    part = rollout.regions[0]
    world.waited = part.since + 5 - world.now
    assert part.champion is not None
    await world.serve(part.champion, slot=part.champion_slot or "")
    challenger = SlotAddress(CHAT, part.slot)
    await finished(world.platforms["local"].start, challenger, rollout.challenger, fence=0)
    world.waited += 60
    await world.platforms["local"].mark_warm(challenger, fence=0)
    ended = await world.run(rollout)
    assert ended.phase is Phase.PROMOTED, ended.reason
    assert (await world.store.verify(ENVIRONMENT)).ok
    await world.store.close()


def test_a_slots_record_is_read(stored: Path, tmp_path: Path) -> None:
    shutil.copy(stored / "slot.json", tmp_path / "slot.json")
    found = read_slot(tmp_path, "test")
    assert found is not None
    assert found.release.id == release("old", prompt="p1").id
    assert found.port == 18123


def test_what_a_later_version_stored_is_refused_and_not_half_read(stored: Path, tmp_path: Path) -> None:
    with sqlite3.connect(tmp_path / "store.db") as database:
        database.executescript((stored / "store.sql").read_text())
        (body,) = database.execute("select body from rollouts limit 1").fetchone()
    later = {**json.loads(body), "schema": "sluice/rollout/v99", "unheard_of": 1}
    with pytest.raises(SluiceError, match="STORE-010"):
        rollout_from_json(later)
