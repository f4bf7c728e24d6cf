"""The load gate over real servers: it passes an equal challenger, stops a slow one, and never passes a dead one."""

from __future__ import annotations

from pathlib import Path

import pytest

from environments.errors import SluiceError
from environments.names import Address
from reconciler.gates.load_gate import LoadGate
from reconciler.ports import GateContext, SlotCounts
from tests.support.doubles import model_folder, running_double
from tests.support.releases import release

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
compare: {metrics: [e2e_p50], confidence: 0.9, rounds_max: 3}
"""


class Live:
    """The champion's counters; `harm` lets its own users' requests fail while the load runs."""

    def __init__(self, *, harm: bool = False) -> None:
        self._harm, self._reads = harm, 0

    async def __call__(self) -> SlotCounts:
        self._reads += 1
        failing = 500 * (self._reads - 1) if self._harm else 0
        return SlotCounts(1000 * self._reads, failing, epoch="one")


def context(tmp_path: Path, challenger: str, champion: str | None, live: Live) -> GateContext:
    (tmp_path / "profile.yaml").write_text(PROFILE)
    return GateContext(
        address=Address("test", "local", "chat"),
        rollout="r1",
        challenger=release("new"),
        challenger_url=challenger,
        champion=release("old") if champion else None,
        champion_url=champion,
        settings={"profile": "profile.yaml", "max_regression": 1.0, "slo": {}},
        root=str(tmp_path),
        reports=str(tmp_path / "reports"),
        live=live,
    )


@pytest.mark.parametrize(("ttft_ms", "verdict"), [(40.0, "PASS"), (400.0, "FAIL")], ids=["equal", "slow"])
async def test_the_verdict_follows_what_the_load_shows(tmp_path: Path, ttft_ms: float, verdict: str) -> None:
    old = model_folder(tmp_path, "old", ttft_ms=40.0)
    new = model_folder(tmp_path, "new", content="2", ttft_ms=ttft_ms)
    with running_double(old) as champion, running_double(new) as challenger:
        for _ in range(5):
            found = await LoadGate().evidence(context(tmp_path, challenger.url, champion.url, Live()))
            if "generator was" not in found.sentence:  # on a machine this busy the generator itself was late
                break
    assert found.verdict == verdict, found.sentence
    assert found.figures["requests"] > 100
    assert sorted(p.suffix for p in tmp_path.joinpath("reports").iterdir()) == [".html", ".xml"]


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


async def test_a_dead_challenger_is_an_error_with_a_code(tmp_path: Path) -> None:
    with running_double(model_folder(tmp_path, "old")) as champion, pytest.raises(SluiceError, match="LOAD-020"):
        await LoadGate().evidence(context(tmp_path, "http://127.0.0.1:9", champion.url, Live()))
