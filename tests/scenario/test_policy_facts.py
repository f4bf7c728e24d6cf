"""What plans tell policies beyond the file, over whole rollouts: guards, promotions elsewhere, break-glass."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from environments.errors import SluiceError
from environments.load import Loaded, load
from environments.policies import BreakGlassSpec, PolicyOverride
from policies.facts import Approval
from reconciler.core.events import BREAK_GLASS, GUARD
from reconciler.core.model.finding import Finding
from reconciler.core.model.rollout import Rollout, rollout_from_json
from reconciler.core.plan.plan import Scope
from reconciler.operations.note_guards import note_guards
from reconciler.planning.facts import promotions_of
from reconciler.planning.planner import Planner
from reconciler.store.connect import open_store
from reconciler.store.elsewhere import rollouts_elsewhere
from tests.support.builders.declared import Declared
from tests.support.builders.releases import ENVIRONMENT
from tests.support.fakes.loop_world import LoopWorld


class Judged(Declared):
    """A declared environment whose file also says something of policies."""

    policies: dict[str, Any]
    glass: BreakGlassSpec | None = None

    def __init__(self, root: Path, **policies: Any) -> None:
        super().__init__(LoopWorld(root))
        self.policies = policies
        self.elsewhere: Sequence[Rollout] | str = "nobody asked"

    def planner(self) -> Planner:
        """Return the planner, with the policies of this test in its file."""
        planner = super().planner()
        said = {id.replace("_", "-"): PolicyOverride.model_validate(value) for id, value in self.policies.items()}
        spec = planner.loaded.spec.model_copy(update={"policies": said, "break_glass": self.glass})

        async def elsewhere(environment: str) -> Sequence[Rollout] | str:
            return self.elsewhere

        return replace(planner, loaded=replace(planner.loaded, spec=spec), elsewhere=elsewhere)

    async def found(self, policy: str) -> list[Finding]:
        """Return what a policy says of the plan."""
        return [f for f in (await self.plan()).findings if f.policy == policy]

    async def told(self, kind: str) -> list[Any]:
        """Return the ledger's entries of a kind."""
        return [entry async for entry in self.bench.store.entries(ENVIRONMENT) if entry.kind == kind]


PROTECT = [{"metric": "error_rate", "ratio": 3}, {"metric": "ttft", "ratio": 1.5}]
LOOSE = {"rollout": {"judge": {"noise": 0, "warmup_s": 0, "tick_s": 2, "protect": PROTECT[:1]}}}


async def test_a_guard_is_recorded_and_the_next_release_compared_with_it(tmp_path: Path) -> None:
    declared = Judged(tmp_path, PLN_003={"level": "deny"})
    declared.serve("chat", "v1")
    assert await declared.found("PLN-003") == [], "a first release has nothing to loosen"
    await declared.apply()
    (entry,) = await declared.told(GUARD)
    assert [row["metric"] for row in entry.body["protect"]] == ["error_rate", "ttft"]
    assert entry.body["levels"]["PLN-003"] == "deny"

    declared.serve("chat", "v2", **LOOSE)
    (loosened,) = await declared.found("PLN-003")
    assert loosened.level == "deny"
    assert "judge.protect has lost its row ttft" in loosened.message
    with pytest.raises(SluiceError, match="PLN-003"):
        _raise((await declared.apply())["chat"].error)

    declared.serve("chat", "v1", **LOOSE)  # alone, it may be loosened: apply notes it, with nothing else to do
    plan = await declared.plan()
    assert not plan.pending
    assert await note_guards(declared.planner(), declared.bench.store, plan, now=declared.bench.now) == ("chat",)
    assert await note_guards(declared.planner(), declared.bench.store, plan, now=declared.bench.now) == ()
    declared.serve("chat", "v2", **LOOSE)
    assert await declared.found("PLN-003") == []


def _raise(error: SluiceError | None) -> None:
    if error:
        raise error


async def test_a_policy_that_is_switched_off_with_a_release_is_seen(tmp_path: Path) -> None:
    declared = Judged(tmp_path, PLN_003={"level": "deny"}, ROL_004={"level": "warn"})
    declared.serve("chat", "v1")
    await declared.apply()
    declared.policies["ROL_004"] = {"level": "off", "reason": "noise"}
    declared.serve("chat", "v2")
    assert "policy ROL-004 is off and was warn" in (await declared.found("PLN-003"))[0].message


async def test_what_nobody_recorded_is_not_known(tmp_path: Path) -> None:
    declared = Judged(tmp_path)
    declared.serve("chat", "v1")
    await declared.apply()
    declared.policies["PLN_003"] = {"level": "deny"}
    newest = declared.bench.store.newest

    async def forgotten(environment: str, kind: str) -> Any:
        return () if kind == GUARD else await newest(environment, kind)

    declared.bench.store.newest = forgotten  # type: ignore[method-assign]
    declared.serve("chat", "v2")
    (unknown,) = await declared.found("PLN-003")
    assert (unknown.level, "no release before has recorded it" in unknown.message) == ("warn", True)


async def test_releases_and_champions_are_known(tmp_path: Path) -> None:
    declared = Judged(tmp_path, PRO_004={"level": "deny"})
    declared.serve("chat", "v1")
    await declared.apply()
    declared.serve("chat", "v2")
    planner = declared.planner()
    plan = await declared.plan()
    facts = await planner.facts(await planner.world(Scope(), now=declared.bench.now), plan.changes)
    assert facts.releases["chat"].id == plan.pending[0].release
    assert facts.releases["chat"].artifacts["model"].ref == "file:models/v2"
    assert isinstance(facts.releases["chat"].artifacts["model"].known, str), "this registry looked at nothing"
    champion = facts.champions[f"{ENVIRONMENT}/local/chat"]
    assert not isinstance(champion, str)
    assert (champion.ready, champion.warm) == (True, True)
    assert await declared.found("PRO-004") == []


async def test_served_elsewhere_first(tmp_path: Path) -> None:
    """One world's history is the other's staging: the same release, promoted by its gates, and then rolled back."""
    staging = Judged(tmp_path / "staging")
    staging.serve("chat", "v1", rollout={"gates": {"eval": {"suite": "s.yaml"}}})
    (tmp_path / "staging" / "s.yaml").write_text("")
    await staging.apply()
    past = [rollout_from_json(s.body) for s in await staging.bench.store.rollouts(ENVIRONMENT, active=False)]
    (promotion,) = promotions_of(past)
    assert (promotion.endpoint, promotion.gates) == ("chat", {"eval": "PASS"})
    assert not promotion.undone
    assert not promotion.hand

    prod = Judged(tmp_path / "prod", PRO_001={"level": "deny", "environment": "staging", "min_age_h": 0})
    prod.serve("chat", "v2")
    prod.elsewhere = past
    assert "has not been promoted in staging" in (await prod.found("PRO-001"))[0].message
    prod.serve("chat", "v1")
    assert await prod.found("PRO-001") == []
    prod.elsewhere = "its store is away"
    (unknown,) = await prod.found("PRO-001")
    assert (unknown.level, unknown.message.endswith("because its store is away")) == ("deny", True)


async def test_break_glass_is_told_in_the_ledger(tmp_path: Path) -> None:
    declared = Judged(tmp_path, ROL_004={"level": "deny"})
    declared.serve("chat", "v1")
    assert not (await declared.apply())["chat"].good
    until = datetime.fromtimestamp(declared.bench.now + 3600, UTC)
    declared.glass = BreakGlassSpec(reason="it burns", who="jo", until=until, policies=["ROL-004"])
    plan = await declared.plan()
    assert [f.level for f in plan.findings if f.policy in ("ROL-004", "POL-005")] == ["warn", "warn"]
    assert (await declared.apply(plan))["chat"].good
    (entry,) = await declared.told(BREAK_GLASS)
    assert entry.summary == "BREAK-GLASS of jo: denied by ROL-004 but for it: it burns"
    assert entry.body["policies"] == ["ROL-004"]
    assert any("BREAK-GLASS of jo" in message for message in declared.messages)


async def test_break_glass_that_was_not_needed_is_not_told_there(tmp_path: Path) -> None:
    declared = Judged(tmp_path)
    declared.serve("chat", "v1")
    until = datetime.fromtimestamp(declared.bench.now + 3600, UTC)
    declared.glass = BreakGlassSpec(reason="r", who="jo", until=until, policies=["ROL-004"])
    assert (await declared.apply())["chat"].good
    assert await declared.told(BREAK_GLASS) == []


async def test_approvals_are_asked_at_apply_alone(tmp_path: Path) -> None:
    declared = Judged(tmp_path, PRO_003={"level": "deny", "approvals": 1})
    declared.serve("chat", "v1")
    planner, now = declared.planner(), declared.bench.now
    plan, facts = await planner.planned(Scope(), now=now)
    assert not plan.denied
    assert [(f.policy, f.level) for f in planner.at_apply(plan, facts, now=now)] == [("PRO-003", "deny")]
    kim = [Approval(key="k", name="kim", at=datetime.now(UTC))]
    assert planner.at_apply(plan, facts, now=now, approvals=kim, author="jo") == ()
    assert [f.policy for f in planner.at_apply(plan, facts, now=now, approvals=kim, author="kim")] == ["PRO-003"]


def _loaded(root: Path, name: str, store: str) -> Loaded:
    spec = {
        "environment": name, "owner": "us", "store": store,
        "regions": {"local": {"platform": "local", "gateway_port": 18080, "serve_command": ["x"]}},
        "endpoints": {"chat": {"team": "t", "runtime": "vllm", "gpus_per_replica": 0, "release": {"model": "file:m"}}},
    }  # fmt: skip
    (root / "environments").mkdir(exist_ok=True)
    path = root / "environments" / f"{name}.yaml"
    path.write_text(json.dumps(spec))
    return load(path, environ={})


async def test_another_environments_store_is_read_and_never_made(tmp_path: Path) -> None:
    prod = _loaded(tmp_path, "prod", "sqlite:///.sluice/prod.db")
    home = tmp_path / ".sluice"
    assert "staging" in str(await rollouts_elsewhere(prod, home, "staging"))
    _loaded(tmp_path, "staging", "sqlite:///.sluice/staging.db")
    assert await rollouts_elsewhere(prod, home, "staging") == "staging.db, the store of staging, is not on this machine"
    assert not (home / "staging.db").exists()
    await open_store("sqlite:///.sluice/staging.db", home=home, root=tmp_path).close()
    assert await rollouts_elsewhere(prod, home, "staging") == []
    assert await rollouts_elsewhere(prod, home, "prod") == "prod is this environment itself"
    (home / "staging.db").write_text("not a database")
    assert str(await rollouts_elsewhere(prod, home, "staging")).startswith("the store of staging cannot be read")
