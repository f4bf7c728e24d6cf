"""What a person reads while a rollout runs: every answer of a gate, once."""

from __future__ import annotations

import io
from dataclasses import replace

from rich.console import Console

from reconciler.core.model.rollout import GateResult, Phase, Rollout
from reconciler.core.model.verdict import Verdict
from reconciler.core.rollout.steps import Enter
from reconciler.engine.loop import Snapshot
from reconciler.output.progress import Progress
from tests.support.builders.releases import endpoint, release, rollout

V1, V2 = release("v1"), release("v2")


def answered(*gates: GateResult) -> Rollout:
    """Return a rollout whose region has these answers."""
    begun = rollout(V2, {"local": endpoint({"a": (V1, 100.0), "b": (None, 0.0)})})
    return replace(begun, regions=(replace(begun.regions[0], gates=gates),))


def test_each_answer_of_a_gate_is_told_once() -> None:
    screen = io.StringIO()
    progress = Progress(Console(file=screen, width=200), clock=lambda: 0.0)
    early = GateResult("eval", Verdict.PASS, "nothing is lost")
    late = GateResult("load", Verdict.FAIL, "it is slow")
    for gates in ((), (early,), (early,), (early, late), (early, late)):
        progress.watch(Snapshot(answered(*gates), (), {}, {}))
    lines = [line.split("chat/local")[1].strip() for line in screen.getvalue().splitlines()]
    assert lines == ["eval gate: PASS: nothing is lost", "load gate: FAIL: it is slow"]


def test_a_gate_that_is_asked_again_is_told_again() -> None:
    screen = io.StringIO()
    progress = Progress(Console(file=screen, width=200), clock=lambda: 0.0)
    for attempts in (1, 2):
        broken = GateResult("eval", Verdict.ERROR, "no answer", attempts)
        progress.watch(Snapshot(answered(broken), (), {}, {}))
    assert screen.getvalue().count("eval gate: ERROR: no answer") == 2


def test_a_reason_is_read_once() -> None:
    screen = io.StringIO()
    progress = Progress(Console(file=screen, width=200), clock=lambda: 0.0)
    stopped = answered(GateResult("eval", Verdict.FAIL, "five cases are lost"))
    for phase in (Phase.ROLLING_BACK, Phase.ROLLED_BACK):
        progress.watch(Snapshot(stopped, (Enter("local", phase, reason="five cases are lost"),), {}, {}))
    assert [line.split("chat/local")[1].strip() for line in screen.getvalue().splitlines()] == [
        "eval gate: FAIL: five cases are lost",
        "rolling_back",
        "rolled_back",
    ]
