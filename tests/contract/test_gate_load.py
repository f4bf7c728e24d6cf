"""The load gate over real servers: it passes an equal challenger, stops a slow one, and never passes a dead one."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from environments.errors import SluiceError
from environments.names import Address
from reconciler.core.canonical import Json
from reconciler.gates.load_gate import LoadGate
from reconciler.gates.load_memory import recall
from reconciler.ports import OLD_S, GateContext, GateProgress, SlotCounts
from tests.support.builders.releases import release
from tests.support.servers.doubles import model_folder, running_double

PROFILE = """
profile: test
api: completions
seed: 3
arrivals: {kind: constant, rate_rps: 60}
duration_s: 3
warmup_s: 0.5
prompt_tokens: {kind: uniform, min: 4, max: 8}
output_tokens: {kind: uniform, min: 2, max: 4}
max_in_flight: 200
max_requests: 2000
timeout_s: 10
slo: {error_rate: 0.2}
compare: {metrics: [e2e_p50], confidence: 0.9}
"""


class Live:
    """The champion's counters, `age_s` old; `harm` lets its own users' requests fail while the load runs."""

    def __init__(self, *, harm: bool = False, age_s: float = 0.0) -> None:
        self._harm, self._age_s, self._reads = harm, age_s, 0

    async def __call__(self) -> SlotCounts:
        self._reads += 1
        failing = 500 * (self._reads - 1) if self._harm else 0
        return SlotCounts(1000 * self._reads, failing, epoch="one", age_s=self._age_s)


def context(tmp_path: Path, challenger: str, champion: str | None, live: Live) -> GateContext:
    (tmp_path / "profile.yaml").write_text(PROFILE)
    return GateContext(
        address=Address("test", "local", "chat"),
        rollout="r1",
        challenger=release("new"),
        challenger_url=challenger,
        champion=release("old") if champion else None,
        champion_url=champion,
        settings={"profile": "profile.yaml", "max_regression": 1.0, "max_duration_s": 60.0, "slo": {}},
        root=str(tmp_path),
        reports=str(tmp_path / "reports"),
        live=live,
    )


@pytest.mark.parametrize(("ttft_ms", "verdict"), [(40.0, "PASS"), (400.0, "FAIL")], ids=["equal", "slow"])
async def test_the_verdict_follows_what_the_load_shows(tmp_path: Path, ttft_ms: float, verdict: str) -> None:
    old = model_folder(tmp_path, "old", ttft_ms=40.0)
    new = model_folder(tmp_path, "new", content="2", ttft_ms=ttft_ms)
    with running_double(old) as champion, running_double(new) as challenger:
        told: list[GateProgress] = []
        asked = replace(context(tmp_path, challenger.url, champion.url, Live()), progress=told.append)
        found = await LoadGate().evidence(asked)
    assert found.verdict == verdict, found.sentence
    assert found.figures["requests"] > 100
    assert sorted(p.suffix for p in tmp_path.joinpath("reports").iterdir()) == [".html", ".xml"]
    assert told[0].words == "round 1, 0 requests an arm"
    assert len(told) > 3
    assert {(progress.gate, progress.limit_s) for progress in told} == {("load", 60.0)}


async def test_an_undecided_gate_ends_by_time_and_goes_on_when_it_is_asked_again(tmp_path: Path) -> None:
    """Its looks and its requests are kept, so that neither the evidence nor the chance of error begins anew."""
    model = model_folder(tmp_path, "old")
    with running_double(model) as champion, running_double(model) as challenger:
        asked = context(tmp_path, challenger.url, champion.url, Live())
        asked.settings["max_regression"] = 0.0001
        asked.settings["max_duration_s"] = 4.0
        found = [await LoadGate().evidence(asked) for _ in range(2)]
        other = replace(asked, challenger=release("another"))
        anew = await LoadGate().evidence(other)
    assert {each.verdict for each in (*found, anew)} == {"INCONCLUSIVE"}, found
    assert [each.figures["rounds"] for each in (*found, anew)] == [1, 2, 1]
    assert found[1].figures["requests"] > 1.8 * found[0].figures["requests"]
    assert "`max_duration_s`" in found[0].sentence


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 no zip", b"\x80\x04."])
async def test_a_damaged_memory_costs_only_time(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "memory.npz").write_bytes(content)
    assert recall(tmp_path / "memory.npz", "any") is None


async def test_the_sentence_says_which_slo_is_in_force(tmp_path: Path) -> None:
    with running_double(model_folder(tmp_path, "new", ttft_ms=300.0)) as challenger:
        asked = context(tmp_path, challenger.url, None, Live())
        asked.settings["slo"] = {"error_rate": 0.3, "ttft_p95_ms": 50.0}
        found = await LoadGate().evidence(asked)
    assert found.verdict == "FAIL", found.sentence
    assert "the SLO is 50 (endpoints.chat.slo.ttft_p95_ms)" in found.sentence
    sentences = {finding["name"]: finding["sentence"] for finding in found.figures["findings"]}
    assert "endpoints.chat.slo.error_rate, over 0.2 in the profile" in sentences["slo error_rate"]


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"max_duration_s": 3.0}, "LOAD-008"),
        ({"profile": "../profile.yaml"}, "FILE-001"),
        ({"profile": "trace.yaml"}, "FILE-001"),
        ({"profile": "nothing.yaml"}, "LOAD-001"),
    ],
)
def test_what_could_never_give_evidence_is_refused_before_a_plan(tmp_path: Path, change: Json, code: str) -> None:
    root = tmp_path / "root"
    root.mkdir()
    settings = context(root, "", None, Live()).settings | change
    trace = PROFILE.replace("{kind: constant, rate_rps: 60}", "{kind: trace, file: ../../secrets}")
    (root / "trace.yaml").write_text(trace)
    with pytest.raises(SluiceError) as caught:
        LoadGate().check(settings, root)
    assert caught.value.code == code


async def test_without_a_champion_only_the_slo_is_judged(tmp_path: Path) -> None:
    with running_double(model_folder(tmp_path, "new")) as challenger:
        good = await LoadGate().evidence(context(tmp_path, challenger.url, None, Live()))
        challenger.set(ttft_ms=300.0)
        strict = context(tmp_path, challenger.url, None, Live())
        strict.settings["slo"] = {"ttft_p95_ms": 100.0}
        bad = await LoadGate().evidence(strict)
    assert (good.verdict, bad.verdict) == ("PASS", "FAIL"), (good.sentence, bad.sentence)


async def test_the_load_stops_when_the_champions_users_suffer(tmp_path: Path) -> None:
    model = model_folder(tmp_path, "old")
    with running_double(model) as champion, running_double(model) as challenger:
        live = Live(harm=True)
        found = await LoadGate().evidence(context(tmp_path, challenger.url, champion.url, live))
    assert found.verdict == "ERROR", found.sentence
    assert "live requests fail" in found.sentence


async def test_the_load_stops_when_nobody_sees_how_the_champions_users_fare(tmp_path: Path) -> None:
    model = model_folder(tmp_path, "old")
    with running_double(model) as champion, running_double(model) as challenger:
        found = await LoadGate().evidence(context(tmp_path, challenger.url, champion.url, Live(age_s=OLD_S + 30)))
    assert found.verdict == "ERROR", found.sentence
    assert "its counts are 120 s old" in found.sentence


async def test_a_dead_challenger_is_an_error_with_a_code(tmp_path: Path) -> None:
    with running_double(model_folder(tmp_path, "old")) as champion, pytest.raises(SluiceError, match="LOAD-020"):
        await LoadGate().evidence(context(tmp_path, "http://127.0.0.1:9", champion.url, Live()))
