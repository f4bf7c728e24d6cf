"""How policies are asked: what breaks denies, what is the environment's own counts, and break-glass is loud."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from environments.errors import SluiceError, SpecError
from environments.load import load
from policies import plans
from policies.asking import findings_of
from policies.catalog import CATALOG, known_ids
from policies.glass import let_pass
from policies.plans import check_plan, check_spec
from policies.policy import Hit, NotKnown, OnPlan, PlanContext, Policy, Unasked, levels
from reconciler.core.model.finding import Finding
from tests.unit.policies.fixtures import ROOT
from tests.unit.policies.test_plans import NOW, PROD, ROLLOUT, change, edited

LEVELS = levels(dev="off", staging="info", prod="warn")


def rule(check: Any, **more: Any) -> Policy:
    return Policy("TRY-001", "t", "w", "f", OnPlan(check), LEVELS, **more)


def judged(monkeypatch: pytest.MonkeyPatch, *policies: Policy) -> list[Finding]:
    monkeypatch.setattr(plans, "policies_of", lambda spec: (*CATALOG, *policies))
    return [f for f in check_spec(PROD, now=NOW) if f.policy in ("TRY-001", "POL-003", "POL-004")]


def boom(context: PlanContext) -> Iterable[Hit]:
    yield "prod/*/chat", "said before it broke"
    raise KeyError("password=hunter2hunter2")


def crooked(context: PlanContext) -> Any:
    return [("prod", None)]


def nothing(context: PlanContext) -> Any:
    return None


@pytest.mark.parametrize(
    ("check", "says"),
    [(boom, "TRY-001 raised KeyError"), (crooked, "NoneType where two texts are due"), (nothing, "not iterable")],
)
def test_a_rule_that_breaks_denies_and_stops_no_other(monkeypatch: pytest.MonkeyPatch, check: Any, says: str) -> None:
    found = judged(monkeypatch, rule(check))
    assert [(f.policy, f.level, f.address) for f in found] == [("POL-003", "deny", "prod")]
    assert says in found[0].message
    assert "hunter2" not in found[0].message
    assert "set TRY-001: off" in found[0].message


def test_a_broken_rule_that_is_off_is_not_asked() -> None:
    off = Policy("TRY-001", "t", "w", "f", OnPlan(boom), levels(dev="off", staging="off", prod="off"))
    assert list(findings_of(off, PROD, lambda: boom(PlanContext(PROD, ())))) == []


def test_what_is_not_known_is_a_finding_of_its_own_level_or_below() -> None:
    def check(context: PlanContext) -> Iterable[Hit]:
        yield "", NotKnown("the licence", "nobody looked")

    for unknown, level in ((None, "warn"), ("info", "info"), ("deny", "warn")):
        policy = rule(check, unknown=unknown)
        (found,) = findings_of(policy, PROD, lambda: check(PlanContext(PROD, ())))
        assert found == Finding("TRY-001", level, "prod", "the licence is not known, because nobody looked")


def test_what_could_not_be_asked_has_a_code(monkeypatch: pytest.MonkeyPatch) -> None:
    found = judged(monkeypatch, rule(lambda context: [("prod/*/chat", Unasked("no engine"))]))
    assert found == [Finding("POL-004", "warn", "prod/*/chat", "TRY-001 could not be asked: no engine")]


def own(expression: str, level: str = "deny", **more: Any) -> dict[str, Any]:
    validation = {"expression": expression} | {k: v for k, v in more.items() if k.startswith("message")}
    rest = {k: v for k, v in more.items() if not k.startswith("message")}
    return {"policies": {"payments/long-bake": {"level": level, "validations": [validation], **rest}}}


def of_own(edits: dict[str, Any], *changes: Any, stage: Any = "plan") -> list[Finding]:
    found = check_plan(edited(edits), changes or (change("chat"),), now=NOW, stage=stage)
    return [f for f in found if f.policy in ("payments/long-bake", "POL-004")]


def test_a_policy_of_ones_own_is_asked() -> None:
    edits = own("endpoint.rollout.bake_s >= 3600", message="payments bakes for an hour")
    assert of_own(edits) == [Finding("payments/long-bake", "deny", "prod/*/chat", "payments bakes for an hour")]
    assert of_own(edits | {f"{ROLLOUT}.bake_s": 3600.0}) == []


def test_without_a_message_the_expression_is_told() -> None:
    assert "does not hold that endpoint.team == 'x'" in of_own(own("endpoint.team == 'x'"))[0].message


def test_a_message_may_be_an_expression() -> None:
    edits = own(
        "endpoint.rollout.bake_s >= 3600", messageExpression="name + ' bakes ' + string(endpoint.rollout.bake_s)"
    )
    assert of_own(edits)[0].message == "chat bakes 1800"


@pytest.mark.parametrize(
    "expression",
    [
        "endpoint.",
        "endpoint.nowhere > 1",
        "endpoint.team",
        "nope",
        "1 / 0 > 1",
        "'true'",
        "variables.x",
        "environment.store == ''",
    ],
)
def test_a_broken_expression_denies_where_the_policy_denies(expression: str) -> None:
    for level in ("deny", "warn"):
        (found,) = of_own(own(expression, level))
        assert (found.policy, found.level) == ("POL-004", level)
        assert "payments/long-bake could not be asked" in found.message


def test_a_broken_message_is_a_broken_policy() -> None:
    assert [f.policy for f in of_own(own("false", messageExpression="1"))] == ["POL-004"]


@pytest.mark.parametrize(
    ("match", "count"),
    [
        ({}, 1), ({"endpoints": ["chat"]}, 1), ({"endpoints": ["code"]}, 0), ({"teams": ["support"]}, 1),
        ({"teams": ["search"]}, 0), ({"actions": ["rollout"]}, 1), ({"actions": ["create", "remove"]}, 0),
        ({"over": "plan"}, 1), ({"over": "plan", "actions": ["remove"]}, 0),
    ],
)  # fmt: skip
def test_what_it_is_asked_about(match: dict[str, Any], count: int) -> None:
    assert len(of_own(own("false", match=match))) == count


def test_over_a_plan_it_sees_the_changes() -> None:
    edits = own("plan.changes.all(c, c.action != 'rollout')", match={"over": "plan"}, message="no rollouts")
    assert of_own(edits) == [Finding("payments/long-bake", "deny", "prod", "no rollouts")]


def test_variables_have_names() -> None:
    variables = [{"name": "hour", "expression": "3600"}, {"name": "two", "expression": "2 * variables.hour"}]
    assert of_own(own("endpoint.rollout.bake_s >= variables.two", variables=variables, message="m"))[0].message == "m"
    assert of_own(own("endpoint.rollout.bake_s < variables.two", variables=variables)) == []
    broken = [{"name": "x", "expression": "1 / 0"}]
    assert [f.policy for f in of_own(own("true", variables=broken))] == ["POL-004"]


def test_a_policy_that_is_off_says_nothing() -> None:
    assert of_own(own("false", "off")) == []


GLASS = {"reason": "the index is on fire", "who": "jo", "until": datetime(2026, 11, 22, tzinfo=UTC)}


def glass(*policies: str, **more: Any) -> dict[str, Any]:
    return {f"{ROLLOUT}.bake_s": 1.0, "break_glass": {**GLASS, "policies": list(policies), **more}}


def test_break_glass_lets_pass_and_says_so() -> None:
    spec = edited(glass("ROL-004"))
    found = check_plan(spec, [change("chat")], now=NOW)
    (bake,) = (f for f in found if f.policy == "ROL-004")
    assert (bake.level, bake.message.endswith("(denied but for break-glass of jo until 2026-11-22T00:00Z)")) == (
        "warn",
        True,
    )
    (loud,) = (f for f in found if f.policy == "POL-005")
    assert loud.level == "warn"
    assert "the index is on fire" in loud.message
    assert "would be denied by ROL-004" in loud.message
    assert let_pass(found, spec) == ("ROL-004",)


def test_break_glass_opens_nothing_else() -> None:
    found = check_plan(edited(glass("ROL-005")), [change("chat")], now=NOW)
    assert [f.level for f in found if f.policy == "ROL-004"] == ["deny"]
    assert "lets nothing pass at present" in next(f.message for f in found if f.policy == "POL-005")


def test_an_expired_one_denies() -> None:
    found = check_plan(edited(glass("ROL-004")), [change("chat")], now=datetime(2026, 11, 22, tzinfo=UTC))
    assert {f.policy: f.level for f in found if f.policy in ("ROL-004", "POL-006", "POL-005")} == {
        "ROL-004": "deny", "POL-006": "deny",
    }  # fmt: skip


def test_without_a_time_it_lets_nothing_pass() -> None:
    found = check_spec(edited(glass("ROL-004")))
    assert [f.level for f in found if f.policy == "ROL-004"] == ["deny"]


def test_a_parameter_that_nobody_reads_is_refused() -> None:
    with pytest.raises(SluiceError) as caught:
        check_spec(edited({"policies": {"ROL-004": {"level": "warn", "min_age_h": 2.0}}}))
    assert caught.value.code == "POL-008"
    assert "does not take min_age_h" in caught.value.problem.what


GLASS_OF_NOTHING = (
    "  ROL-004: warn\nbreak_glass: {reason: r, who: w, until: 2026-11-22T00:00:00Z, policies: [ROL-044]}\n"
)
BAD = [
    ("  ROL-044: off\n", "SPEC-033", 'nearest: "ROL-004"'),
    (GLASS_OF_NOTHING, "SPEC-056", "ROL-044"),
    ("  payments/x: {level: deny}\n", "SPEC-057", "has no validations"),
    ("  Payments/x: {level: deny, validations: [{expression: 'true'}]}\n", "SPEC-057", "NAMESPACE/NAME"),
    ("  ROL-004: {level: deny, validations: [{expression: 'true'}]}\n", "SPEC-057", "takes no validations"),
    ("  payments/x: {level: deny, validations: [{expresion: 'true'}]}\n", "SPEC-011", 'nearest: "expression"'),
    ("  PLN-004: {level: deny, windows: [{name: x}]}\n", "SPEC-058", "either `days` or both"),
    ("  PLN-004: {level: deny, windows: [{name: x, days: [fri], begins: 2026-11-22T00:00:00Z}]}\n",
     "SPEC-058", "`ends`"),
    ("  PLN-004: {level: deny, windows: [{name: x, begins: 2026-11-24T00:00:00Z, ends: 2026-11-23T00:00:00Z}]}\n",
     "SPEC-058", "ends before it begins"),
    ("  PLN-004: {level: deny, windows: [{name: x, days: [friday]}]}\n", "SPEC-014", "fri"),
    ("  PLN-004: {level: deny, windows: [{name: x, days: [fri], start: '25:00'}]}\n", "SPEC-015", "25:00"),
]  # fmt: skip


@pytest.mark.parametrize(("text", "code", "says"), BAD)
def test_what_is_wrong_in_the_file_has_a_line(tmp_path: Path, text: str, code: str, says: str) -> None:
    (tmp_path / "environments").mkdir()
    file = tmp_path / "environments" / "x.yaml"
    head = (ROOT / "tests" / "unit" / "environments" / "base.yaml").read_text().partition("\npolicies:")[0]
    file.write_text(f"{head}\npolicies:\n{text}")
    with pytest.raises(SpecError) as caught:
        load(file, environ={}, policy_ids=known_ids())
    mine = [p for p in caught.value.problems if p.code == code]
    assert mine, [p.render() for p in caught.value.problems]
    assert int(mine[0].where.rpartition(":")[2]) > head.count("\n")
    assert says in mine[0].render()
