"""The comment in a pull request: it fits, says what it leaves out, and nothing in it acts or gives anything away."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from environments.names import Address
from environments.signing import ApprovalsSpec
from reconciler.core.model.finding import Finding
from reconciler.core.plan.change import Action, Change, FieldChange, MovesBy
from reconciler.core.plan.drift import Drift
from reconciler.core.plan.plan import Plan
from reconciler.output.markdown import code, fenced, plain
from reconciler.output.plan_markdown import _CUTS, COMMENT_MAX, Reviewed, _page, marker, plan_markdown
from tests.golden.test_cli_plans import PLANS, spec

PLAN = PLANS["rollout"]


def shown(plan: Plan, limit: int = COMMENT_MAX) -> str:
    return plan_markdown(reviewed(plan), limit=limit)


def reviewed(plan: Plan) -> Reviewed:
    return Reviewed(plan, spec(), lambda finding: "environments/test.yaml:7")


def large(changes: int, findings: int, *, text: str = "x" * 200) -> Plan:
    """Return a plan of many changes in two regions with many findings of each level."""
    moved = tuple(
        Change(
            Address("test", region, f"chat-{n}"),
            Action.ROLLOUT,
            (FieldChange("model", f"file:{n}", f"{text}{n}"),),
            MovesBy.COLD_LOAD,
            f"chat-{n}-4d215f122e",
        )
        for region in ("north", "south")
        for n in range(changes)
    )
    found = tuple(
        Finding(f"GPU-{n:03}", level, f"test/north/chat-{n}", text)
        for level in ("deny", "warn", "info")
        for n in range(findings)
    )
    return replace(PLAN, changes=moved, findings=found, steps=())


def test_the_summary_and_what_denies_stand_outside_of_folds() -> None:
    text = shown(PLAN)
    outside = re.sub(r"<details>.*?</details>", "", text, flags=re.S)
    assert text.startswith(marker("test") + "\n")
    assert "**Plan: 2 to roll out; 1 finding denies it." in outside
    assert "| ⛔ | GPU-001 | `test/north/chat`<br>`environments/test.yaml:7` |" in outside
    assert "raise the pool's nodes.max" in outside, "how to fix it"
    assert outside.count("| Endpoint | Action |") == 2, "a table a region"
    assert "- **Rollback:** `chat`: `sluice rollback test --endpoint chat` is a weight" in outside
    assert "max_model_len: 8192" not in outside
    assert text.count("```diff") == 1, "the same diff of two regions stands once"
    assert PLAN.digest in outside


def test_who_has_to_approve_is_said() -> None:
    listed = [{"name": n, "public_key": "MCowBQYDK2VwAyEA" + c * 42 + "A="} for n, c in (("bob", "A"), ("ann", "B"))]
    asked = spec().model_copy(update={"approvals": ApprovalsSpec.model_validate({"needed": 2, "keys": listed})})
    assert "- **Approvals:** 2 of `ann`, `bob`" in plan_markdown(Reviewed(PLAN, asked))


def test_it_fits_by_leaving_out_one_thing_after_another() -> None:
    plan = large(40, 90)
    sizes = [len("\n".join(_page(reviewed(plan), cut)).encode()) for cut in range(len(_CUTS))]
    assert sizes[0] > 10 * sizes[-1]
    for cut in (0, 1, 2, 4, 5, 6):  # this plan has no steps that step 3 could leave out
        text = shown(plan, sizes[cut])
        assert len(text.encode()) == sizes[cut]
        assert text.startswith(marker("test")), "the next comment must find it"
        assert "**Plan: 80 to roll out; 90 findings deny it." in text
        said = re.search(r"\(step (\d) of 6\)\. Left out: (.*?)\. All of it: `sluice plan test`", text)
        assert (said[1], said[2].split("; ")) == (str(cut), list(_CUTS[1 : cut + 1])) if said else cut == 0
        found = ("```diff", "| ℹ️ |", "| Endpoint |", "| ⚠️ |", "| ⛔ |")
        assert [each in text for each in found] == [cut < 1, cut < 2, cut < 4, cut < 5, True]
    least = shown(plan, 700)
    assert len(least.encode()) <= 700
    assert least.startswith(marker("test"))
    assert least.endswith("…\n")


def test_a_plan_of_two_thousand_endpoints_fits_a_comment() -> None:
    text = shown(large(1_000, 600, text="ü😀" * 100))
    assert len(text) <= len(text.encode()) <= COMMENT_MAX == 65_536
    assert "- `north`: 1000 × rollout (cold_load)" in text
    assert "and 580 more" in text


HOSTILE = (
    "x | y\n</details><script>alert(1)</script> ![p](http://evil/p.png) @team #12 `b` **b** ````\n"
    "<!-- sluice:plan:prod -->"
)


def test_nothing_that_a_plan_quotes_acts() -> None:
    name = Address("test", "north", "chat")
    change = Change(name, Action.ROLLOUT, (FieldChange("model", HOSTILE, HOSTILE),), MovesBy.COLD_LOAD, HOSTILE)
    plan = replace(
        PLAN,
        changes=(change,),
        findings=(Finding("GPU-001", "deny", HOSTILE, HOSTILE),),
        drift=(Drift("test/north/chat", HOSTILE, HOSTILE, HOSTILE),),
        gaps=(HOSTILE,),
    )
    text = plan_markdown(Reviewed(plan, None, lambda finding: HOSTILE))
    fence = re.search(r"^(`{5,})diff\n.*?^\1$", text, flags=re.S | re.M)
    assert fence, "the fence is longer than any run of backticks in it"
    rest = re.sub(r"`[^`\n]*`", "", text.replace(fence[0], ""))
    assert "<script" not in rest
    assert not re.search(r"(?<!\\)!\[|(?<!\\)\[p", rest)
    assert not re.search(r"@\w|#\d", rest)
    assert rest.count("<details>") == rest.count("</details>") == 1
    assert [line for line in text.splitlines() if line == marker("prod")] == []
    rows = [line for line in text.splitlines() if line.startswith("|")]
    assert all(len(re.findall(r"(?<!\\)\|", row)) in (5, 6) for row in rows), "no text breaks its row"


@settings(max_examples=100, deadline=None)
@given(st.text(max_size=40))
def test_any_text_stays_in_its_place(text: str) -> None:
    assert "\n" not in plain(text) + code(text)
    assert "<" not in plain(text).replace("<!-- -->", "")
    assert code(text).count("`") in (0, 2)
    block = fenced([text, text], "diff")
    assert not any(set(line.strip()) == {"`"} and len(line.strip()) >= len(block[-1]) for line in block[1:-1])


ACCOUNT = "111122223333"


@pytest.mark.parametrize("limit", [COMMENT_MAX, 1_500])
def test_no_secret_and_no_account_is_shown(limit: int) -> None:
    secret, token = "hunter2" * 2, "gh" + "p_" + "a1B2c3D4e5F6g7H8i9J0"
    texts = [
        f"s3://sluice-models-test-eu-{ACCOUNT}/chat@v1",
        f"{ACCOUNT}.dkr.ecr.eu-west-1.amazonaws.com/vllm@sha256:{'a' * 64}",
        f"arn:aws:kms:eu-west-1:{ACCOUNT}:key/1",
        f"https://sqs.eu-west-1.amazonaws.com/{ACCOUNT}/q",
        f"postgresql://u:{secret}@host/db",
        f"token={token}",
    ]
    fields = tuple(FieldChange(f"f{n}", text, text) for n, text in enumerate(texts))
    change = Change(Address("test", "north", "chat"), Action.ROLLOUT, fields, MovesBy.COLD_LOAD, "chat-1")
    plan = replace(
        PLAN,
        changes=(change,),
        findings=tuple(Finding("GPU-001", "deny", "test/north/chat", text) for text in texts),
        gaps=tuple(texts),
        drift=tuple(Drift("test/north/chat", "path", text, text) for text in texts),
    )
    text = shown(plan, limit)
    assert "***" in text or limit < COMMENT_MAX
    for hidden in (ACCOUNT, secret, token):
        assert hidden not in text
