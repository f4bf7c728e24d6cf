"""Policies over plans: each finds its violation in a changed production file, and the shipped files pass."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from environments.errors import SluiceError
from environments.load import load
from environments.names import Address
from environments.prices import packaged
from environments.spec import EnvironmentSpec
from environments.yaml_tree import split_path
from policies.catalog import CATALOG, find_policy, known_ids, override_findings
from policies.places import path_of
from policies.plans import check_plan, check_spec
from policies.policy import Need, kind_of
from reconciler.core.memory.estimate import Gpu, Memory, estimate, ways_out
from reconciler.core.model.finding import Finding
from reconciler.core.model.model_facts import facts_of
from reconciler.core.plan.change import Action, Change, FieldChange, MovesBy
from reconciler.core.plan.memory import LoggedCache, ReleaseMemory
from tests.unit.environments.test_load import SHIPPED
from tests.unit.policies.fixtures import ROOT, shipped

NOW = datetime(2026, 11, 21, tzinfo=UTC)
PROD = shipped("prod")


def edited(edits: Mapping[str, Any]) -> EnvironmentSpec:
    """Return production with the values at these dotted paths replaced; a value of `...` removes the key."""
    data = PROD.model_dump(mode="python")
    for path, value in edits.items():
        *parents, last = path.split(".")
        block = data
        for part in parents:
            block = block[part]
        if value is ...:
            del block[last]
        else:
            block[last] = value
    return EnvironmentSpec.model_validate(data)


def change(endpoint: str, region: str = "eu-central-1", action: Action = Action.ROLLOUT) -> Change:
    """Return a change that loads a model."""
    fields = (FieldChange("model", "a", "b"),)
    return Change(Address("prod", region, endpoint), action, fields, MovesBy.COLD_LOAD, f"{endpoint}-0123456789")


@dataclass(frozen=True)
class Case:
    """Edits of production and a plan's changes that give `level` for `policy`, with `says` in the message."""

    policy: str
    says: str
    edits: Mapping[str, Any] = field(default_factory=dict)
    changes: Sequence[Change] = (change("chat"),)
    level: str = "deny"
    address: str = "prod/*/chat"
    need: Need | None = None


LLAMA = facts_of(
    {"num_hidden_layers": 32, "hidden_size": 4096, "intermediate_size": 14336, "num_attention_heads": 32,
     "num_key_value_heads": 8, "vocab_size": 128256}, {"BF16": 16_060_522_496},
)  # fmt: skip
CHAT = Address("prod", "eu-central-1", "chat")
PRICED = Need(prices=packaged())
LOGGED = ReleaseMemory(str(CHAT), "chat-1", "l4", Gpu("L4", 24), logged=LoggedCache("chat-1", "L4", 4096, 0.5, "x"))


def needed(max_model_len: int) -> Need:
    """Return the memory of an 8B Llama on an L4 whose requests are so long."""
    engine, gpu = {"max_model_len": max_model_len}, Gpu("L4", 24)
    found = estimate(LLAMA, engine, gpu)
    assert isinstance(found, Memory)
    ways = ways_out(LLAMA, engine, gpu, found)
    return Need(memory=(ReleaseMemory(str(CHAT), "chat-1", "l4", gpu, memory=found, ways=ways),))


ROLLOUT = "endpoints.chat.rollout"
CASES = (
    Case("ROL-001", "25 %", {f"{ROLLOUT}.steps_pct": [25.0, 50.0]}),
    Case("ROL-001", "blue_green", {f"{ROLLOUT}.strategy": "blue_green"}),
    Case("ROL-002", "replicas.min is 1", {"endpoints.chat.replicas.min": 1}),
    Case("ROL-003", "stands before the first percent of traffic", {f"{ROLLOUT}.gates": {}}),
    Case("ROL-004", "bake_s is 60", {f"{ROLLOUT}.bake_s": 60.0}),
    Case("ROL-005", "judge.alpha is 0.2", {f"{ROLLOUT}.judge.alpha": 0.2}),
    Case("ROL-005", "judge.beta is 0.1", {f"{ROLLOUT}.judge.beta": 0.1}),
    Case("ROL-006", "on_inconclusive is promote", {f"{ROLLOUT}.on_inconclusive": "promote"}),
    Case("ROL-007", "no row for error_rate", {f"{ROLLOUT}.judge.protect": [{"metric": "ttft", "ratio": 1.2}]}),
    Case("SLO-001", "no SLO", {"endpoints.chat.slo": {}}),
    Case(
        "PLN-001", "removes this endpoint", {}, [change("old", action=Action.REMOVE)], address="prod/eu-central-1/old"
    ),
    Case(
        "PLN-002", "3 of 3 endpoints change at once (100 %",
        {}, [change("chat"), change("code"), change("embed")], "warn", "prod",
    ),
    Case(
        "REL-001", "built at 2026-10-21T00:00Z and is older than",
        {"endpoints.chat.release.index.built_at": "2026-10-21T00:00:00Z"}, level="warn",
    ),
    Case("REL-002", "release.model is file:", {"endpoints.chat.release.model": "file:models/x"}),
    Case("REL-002", "adapters.acme is file:", {"endpoints.chat.release.adapters.acme": "file:x"}),
    Case("REL-003", "max_model_len is not set", {"endpoints.chat.release.engine": {}}, level="warn"),
    Case("REL-004", "over 4 GPUs", {"endpoints.chat.release.engine": {"tensor_parallel_size": 4}}),
    Case("REL-005", "engine.worker_cls", {"endpoints.chat.release.engine": {"max_model_len": 8, "worker_cls": "x"}}),
    Case("REL-005", "reads like a path", {"endpoints.chat.release.engine": {"max_model_len": 8, "dtype": "/x"}}),
    Case(
        "GPU-001", "needs 4 GPUs and 2 more", {"regions.eu-central-1.gpu_pools.l4.nodes.max": 5},
        address="prod/eu-central-1/l4",
    ),
    Case("GPU-002", "may grow to 24 GPUs", {"infrastructure.gpu_quota": {"us-east-1": 8}}, address="prod/us-east-1"),
    Case(
        "GPU-005", "all nodes are spot", {"regions.eu-central-1.gpu_pools.l40s.on_demand_floor": 0},
        address="prod/eu-central-1/l40s",
    ),
    Case("GPU-012", "one request of 65,536 tokens needs more", need=needed(65536), address="prod/eu-central-1/chat"),
    Case("GPU-012", "it fits with engine.max_model_len up to", need=needed(65536), address="prod/eu-central-1/chat"),
    Case("GPU-012", "vLLM logged 0.5 requests", need=Need(memory=(LOGGED,)), address="prod/eu-central-1/chat"),
    Case(
        "GPU-013", "tokens fit; one request has 34,000", need=needed(34000), level="warn",
        address="prod/eu-central-1/chat",
    ),
    Case(
        "GPU-014", "2 rollouts need 4 GPUs on top (chat 2, embed 2); 3 are free",
        {"regions.eu-central-1.gpu_pools.l4.nodes.max": 7}, [change("chat"), change("embed")],
        address="prod/eu-central-1/l4",
    ),
    Case("COST-001", "team search has no budget", {"teams.search": {}}, level="warn", address="prod"),
    Case(
        "COST-002", "raise the cost of GPUs", {},
        [change("code", action=Action.CREATE), change("code", "us-east-1", Action.CREATE)], "warn", "prod", PRICED,
    ),
)  # fmt: skip


def judged(case: Case) -> tuple[Finding, ...]:
    """Return what the policies say of a case's plan."""
    return check_plan(edited(case.edits), case.changes, now=NOW, need=case.need)


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case.policy}-{case.says[:20]}".replace(" ", "-"))
def test_it_finds_the_violation(case: Case) -> None:
    found = [f for f in judged(case) if f.policy == case.policy]
    assert [(f.level, f.address) for f in found] == [(case.level, case.address)]
    assert case.says in found[0].message


def test_what_the_policies_say_does_not_change_from_hour_to_hour() -> None:
    """Or a plan would get another digest each hour, and what was approved would be stale by then."""
    stale = edited({"endpoints.chat.release.index.built_at": "2026-10-21T00:00:00Z"})
    said = [check_plan(stale, [change("chat")], now=NOW + timedelta(hours=hours)) for hours in (0, 5, 100)]
    assert said[0] == said[1] == said[2]
    assert "REL-001" in {finding.policy for finding in said[0]}


def test_every_case_is_of_a_policy_over_plans() -> None:
    """That each policy has a case, here or in policies/cases, is said in test_cases.py."""
    assert {case.policy for case in CASES} <= {policy.id for policy in CATALOG if policy.subject == "plan"}


@pytest.mark.parametrize("name", SHIPPED)
def test_shipped_environments_pass(name: str) -> None:
    assert [f for f in check_spec(shipped(name), now=NOW) if f.level in ("deny", "warn")] == []


def test_a_shipped_plan_passes() -> None:
    findings = check_plan(PROD, [change("chat"), change("chat", "us-east-1")], now=NOW)
    assert {f.policy for f in findings} == {"POL-001", "POL-007"}


def test_endpoints_that_a_plan_leaves_alone_are_not_judged() -> None:
    spec = edited({f"{ROLLOUT}.bake_s": 1.0})
    assert not [f for f in check_plan(spec, [change("code")], now=NOW) if f.policy == "ROL-004"]
    assert [f for f in check_spec(spec) if f.policy == "ROL-004"]


def test_without_a_time_nothing_is_said_of_age() -> None:
    spec = edited({"endpoints.chat.release.index.built_at": "2020-01-01T00:00:00Z"})
    assert not [f for f in check_spec(spec) if f.policy == "REL-001"]
    assert [f for f in check_spec(spec, now=NOW) if f.policy == "REL-001"]


def test_an_override_is_shown_and_obeyed() -> None:
    spec = edited({f"{ROLLOUT}.bake_s": 1.0, "policies": {"ROL-004": {"level": "info", "reason": "migration week"}}})
    findings = check_spec(spec)
    assert [f.level for f in findings if f.policy == "ROL-004"] == ["info"]
    shown = Finding("POL-001", "info", "prod", "ROL-004 is info instead of deny: migration week")
    assert shown in findings
    silent = edited({f"{ROLLOUT}.bake_s": 1.0, "policies": {"ROL-004": "off"}})
    about = [f for f in check_spec(silent) if "ROL-004" in (f.policy, f.message.partition(" ")[0])]
    assert [f.policy for f in about] == ["POL-001"]
    assert "without a reason" in about[0].message


def test_an_override_of_nothing_is_an_error() -> None:
    with pytest.raises(SluiceError) as caught:
        override_findings(edited({"policies": {"ROL-044": "off"}}))
    assert caught.value.code == "POL-002"
    assert 'nearest: "ROL-004"' in caught.value.problem.do


def test_parameters_of_an_override_count() -> None:
    changes = [change("embed", action=Action.CREATE)]
    assert not [f for f in check_plan(PROD, changes, now=NOW, need=PRICED) if f.policy == "COST-002"]
    tight = edited({"policies.COST-002": {"level": "deny", "max_increase_pct": 5.0}})
    assert [f.level for f in check_plan(tight, changes, now=NOW, need=PRICED) if f.policy == "COST-002"] == ["deny"]
    assert not [f for f in check_plan(tight, changes, now=NOW) if f.policy == "COST-002"], "nobody says what it costs"


def test_same_input_same_findings_whatever_the_order() -> None:
    changes = [change("chat"), change("code"), change("embed"), change("old", action=Action.REMOVE)]
    assert check_plan(PROD, changes, now=NOW) == check_plan(PROD, changes[::-1], now=NOW)
    assert list(check_plan(PROD, changes, now=NOW)) == sorted(check_plan(PROD, changes, now=NOW))


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("prod", "prod"),
        ("prod-eu", "prod"),
        ("product", "other"),
        ("dev", "dev"),
        ("local", "other"),
        ("staging", "staging"),
    ],
)
def test_kinds(name: str, kind: str) -> None:
    assert kind_of(name) == kind


def test_find_policy_knows_all() -> None:
    assert {find_policy(policy_id).id for policy_id in known_ids()} == known_ids()


@pytest.mark.parametrize(
    ("case", "path"),
    [
        (CASES[0], "endpoints.chat.rollout.steps_pct"),
        (CASES[2], "endpoints.chat.replicas.min"),
        (next(c for c in CASES if c.policy == "GPU-001"), "regions.eu-central-1.gpu_pools.l4.nodes"),
        (next(c for c in CASES if c.policy == "GPU-002"), "regions.us-east-1.gpu_pools"),
        (next(c for c in CASES if c.policy == "COST-001"), "environment"),
    ],
)
def test_a_finding_has_its_line(case: Case, path: str) -> None:
    found = next(f for f in judged(case) if f.policy == case.policy)
    assert path_of(found, edited(case.edits)) == path
    lines = load(ROOT / "environments" / "prod.yaml", environ={}).lines
    assert lines.node(split_path(path)) is not None


def test_an_override_has_the_line_of_its_policy() -> None:
    assert [path_of(f, PROD) for f in override_findings(PROD)] == [
        "policies.COST-002", "policies.GPU-001", "policies.PRO-001",
    ]  # fmt: skip
