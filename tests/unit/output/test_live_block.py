"""What a tired person reads at 60 columns: counts of the judge's own time, one scale of evidence, what is left."""

from __future__ import annotations

import io
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest
from rich.console import Console

from reconciler.core.model.rollout import GateResult, Phase, Rollout
from reconciler.core.model.verdict import Verdict
from reconciler.core.rollout.next_steps import Evidence
from reconciler.core.rollout.steps import Wait
from reconciler.engine.loop import Snapshot
from reconciler.output.live_block import evidence_bars
from reconciler.output.progress import Progress
from reconciler.output.words import bar, duration_words, owner_words
from reconciler.ports import GateProgress, SlotCounts
from tests.support.builders.releases import endpoint, release, rollout

V1, V2 = release("v1"), release("v2")
URL = "http://127.0.0.1:18080/chat/v1"
ROWS = [{"promotion": 1.0, "promotion_limit": 4.0}, {"promotion": 3.0, "promotion_limit": 4.0}]
JUDGED: Mapping[str, Any] = {"local": {"rollback": 1.0, "rollback_limit": 4.0, "rows": ROWS}}


def at(phase: Phase, *gates: GateResult) -> Rollout:
    begun = rollout(V2, {"local": endpoint({"a": (V1, 90.0), "b": (V2, 10.0)})})
    part = replace(begun.regions[0], phase=phase, gates=gates, slot="b", champion_slot="a", champion=V1)
    return replace(begun, regions=(part,))


def snapshot(phase: Phase, a: int, b: int, *, failed: int = 0, epoch: str = "1", **more: Any) -> Snapshot:
    counters = {"local": {"a": SlotCounts(a, 0, epoch=epoch), "b": SlotCounts(b, failed, epoch=epoch)}}
    steps = (Wait("local", "Not decided: ttft x1.5 is not ruled out (12.5 ms against 12.1 ms); 1:2 of 100:1", 12.4),)
    seen = {"local": endpoint({"a": (V1, 90.0), "b": (V2, 10.0)})}
    evidence = {"local": Evidence(canary_sentence="no request yet", bake_sentence="the promises hold so far")}
    return Snapshot(at(phase), steps, seen, evidence, counters, **more)


def shown(*snapshots: Snapshot, width: int = 60) -> list[str]:
    """Return the live block after these turns, on a terminal without colours."""
    screen = io.StringIO()
    console = Console(file=screen, width=width, force_terminal=True, color_system=None)
    progress = Progress(console, clock=lambda: 0.0, urls={("local", "chat"): URL})
    for each in snapshots:
        progress.watch(each)
    assert progress._live is not None
    with console.capture() as caught:
        console.print(progress._live.renderable)
    return [line.rstrip() for line in caught.get().splitlines()]


def test_a_canary_at_60_columns() -> None:
    lines = shown(
        snapshot(Phase.GATING, 500, 90),
        snapshot(Phase.SHIFTING, 1000, 100),
        snapshot(Phase.SHIFTING, 2800, 299, failed=3, judged=JUDGED),
    )
    assert lines == [
        f"chat  {V2.id}  0 s",
        "  local  shifting  10 %  12 s left",
        "    champion    1,800 requests, 0 failed",
        "    challenger  199 requests, 3 failed",
        "    worse       ██········  25 %  rolls back at 100 %",
        "    not worse   ██········  25 %  promotes at 100 %",
    ]


@pytest.mark.parametrize("width", [60, 80])
def test_no_line_is_cut_and_none_is_wider_than_the_terminal(width: int) -> None:
    gate = GateProgress("load", "round 2, 1,143 requests an arm", 75.0, 600.0)
    for each in (
        snapshot(Phase.SHIFTING, 10, 1, judged=JUDGED),
        snapshot(Phase.SHIFTING, 10, 1),
        snapshot(Phase.BAKING, 10, 1),
        snapshot(Phase.GATING, 10, 1, gates={"local": gate}),
        snapshot(Phase.PREPARING, 10, 1),
    ):
        lines = shown(each, width=width)
        assert max(map(len, lines)) <= width
        assert "…" not in "".join(lines)


def test_a_gate_says_what_it_has_and_how_long_it_may_take() -> None:
    gate = GateProgress("load", "round 2, 143 requests an arm", 75.0, 600.0)
    lines = shown(snapshot(Phase.GATING, 0, 0, gates={"local": gate}))
    assert lines[-2:] == ["    load gate: round 2, 143 requests an arm", "    1 min 15 s of at most 10 min"]


def test_without_traffic_it_says_where_to_send_some() -> None:
    lines = shown(snapshot(Phase.SHIFTING, 1000, 100))
    assert " ".join(" ".join(lines[4:6]).split()) == f"no requests yet: clients call {URL}"
    assert not any(URL in line for line in shown(snapshot(Phase.SHIFTING, 10, 1), snapshot(Phase.SHIFTING, 11, 1)))


def test_a_server_that_began_again_is_counted_from_there() -> None:
    lines = shown(snapshot(Phase.SHIFTING, 1000, 100), snapshot(Phase.SHIFTING, 5, 2, epoch="2"))
    assert "    champion    0 requests, 0 failed" in lines


def test_where_nothing_is_live_gates_and_waits_are_told_from_time_to_time() -> None:
    screen, now = io.StringIO(), [0.0]
    progress = Progress(Console(file=screen, width=200), clock=lambda: now[0], urls={("local", "chat"): URL})
    gate = GateProgress("load", "round 1, 40 requests an arm", 12.0, 600.0)
    for seconds in (0.0, 1.0, 16.0):
        now[0] = seconds
        progress.watch(snapshot(Phase.GATING, 0, 0, gates={"local": gate}))
    told = [line for line in screen.getvalue().splitlines() if "load gate" in line]
    assert [line.split("chat/local  ")[1] for line in told] == [
        "load gate: round 1, 40 requests an arm, 12 s of at most 10 min"
    ] * 2


def test_the_end_says_how_long_how_many_and_where_reports_are() -> None:
    screen, now = io.StringIO(), [0.0]
    with Progress(Console(file=screen, width=200), clock=lambda: now[0]) as progress:
        progress.watch(snapshot(Phase.SHIFTING, 1000, 100))
        now[0] = 85.4
        last = snapshot(Phase.BAKING, 2000, 1100, failed=2)
        report = GateResult("load", Verdict.PASS, "fine", links=("/reports/r1-local-load.html",))
        progress.watch(replace(last, rollout=at(Phase.BAKING, report)))
    assert screen.getvalue().splitlines()[-2:] == [
        "chat: took 1 min 25 s; while both releases had traffic: 2,000 requests, 2 failed",
        "  report: /reports/r1-local-load.html",
    ]


def test_evidence_is_on_one_scale() -> None:
    assert evidence_bars({}) == ()
    over = {"rollback": 9.0, "rollback_limit": 4.0, "rows": [{"promotion": -3.0, "promotion_limit": 4.0}]}
    assert evidence_bars(over) == (
        "worse       ██████████ 100 %  rolls back at 100 %",
        "not worse   ··········   0 %  promotes at 100 %",
    )


@pytest.mark.parametrize(
    ("owner", "words"),
    [
        ("vm:29657:179553775820", "a process on vm"),
        ("root@vm:29657:1795", "root on vm"),
        ("ann@build-7/29657/1795/boot/task", "ann on build-7"),
    ],
)
def test_owners_are_named_as_people_name_them(owner: str, words: str) -> None:
    assert owner_words(owner) == words


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(0.4, "0 s"), (59.6, "1 min"), (143.095, "2 min 23 s"), (3600.0, "1 h"), (7860.0, "2 h 11 min"), (-1.0, "0 s")],
)
def test_durations_are_rounded(seconds: float, words: str) -> None:
    assert duration_words(seconds) == words


@pytest.mark.parametrize(
    ("share", "words"), [(-1.0, "··········   0 %"), (0.55, "██████····  55 %"), (2.0, "██████████ 100 %")]
)
def test_bars(share: float, words: str) -> None:
    assert bar(share) == words
