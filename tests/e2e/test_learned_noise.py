"""Recorded ticks: `sluice judge learn` takes noise out of them, `judge export` writes them out."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import pytest

from reconciler.core.canonical import Json
from reconciler.core.judge import tick_to_json
from reconciler.store.connect import open_store
from tests.bench.judge.runs import ticks_of
from tests.bench.judge.traffic import EQUAL, EVEN, Release, Traffic, simulate, with_noise
from tests.support.cli import Cli


def record(cli: Cli, ticks: list[Json]) -> str:
    """Add the ticks to the rollout that was promoted last, and return its id."""

    async def write() -> str:
        store = open_store(cli.spec["store"], home=cli.home, root=cli.folder)
        try:
            rollout = (await store.rollouts(cli.name, endpoint="chat"))[0].id
            for tick in ticks:
                await store.add_tick(rollout, "local", {"began": 0.0, "tick": tick})
            return rollout
        finally:
            await store.close()

    return asyncio.run(write())


def test_noise_is_learned_and_kept(cli: Cli) -> None:
    recording = simulate(with_noise(Traffic(), 0.05), EQUAL, EVEN, runs=1, seed=3, duration_s=1800.0)
    rollout = record(cli, [tick_to_json(tick) for tick in ticks_of(recording)])
    found = cli.run("judge", "learn", cli.name, "--endpoint", "chat", "--json", code=0).json()
    assert found["rollout"] == rollout
    assert found["low"] <= found["sigma"] <= found["high"]
    assert found["assumed"] > found["sigma"] == pytest.approx(0.05, rel=0.5)
    kept = [entry.body for entry in cli.entries() if entry.kind == "noise"]
    assert [body["assumed"] for body in kept] == [found["assumed"]]
    cli.verified()


def test_a_rollout_without_ticks_teaches_nothing(cli: Cli) -> None:
    refused = cli.run("judge", "learn", cli.name, "--endpoint", "chat", code=1)
    assert "JUDGE-009" in refused.told
    unknown = cli.run("judge", "learn", cli.name, "--endpoint", "chat", "--rollout", "chat-none", code=1)
    assert "no ticks are recorded of chat-none" in unknown.told
    assert "noise" not in cli.kinds()


def test_ticks_are_written_out_as_they_were_judged_and_replay_reads_them(cli: Cli, tmp_path: Path) -> None:
    recording = simulate(Traffic(), Release(error_ratio=8.0), EVEN, runs=1, seed=4, duration_s=900.0)
    ticks = [tick_to_json(tick) for tick in ticks_of(recording)]
    rollout = record(cli, ticks)
    lines = cli.run("judge", "export", cli.name, "--endpoint", "chat", "--rollout", rollout, code=0).out.splitlines()
    assert [json.loads(line) for line in lines] == ticks
    file = tmp_path / "ticks.jsonl"
    file.write_text("\n".join(lines))
    assert cli.run("judge", "replay", str(file), "--json", code=0).json()["verdict"] == "FAIL"
    nothing = cli.run("judge", "export", cli.name, "--endpoint", "chat", "--rollout", "chat-none", code=1)
    assert "JUDGE-011" in nothing.told
    unknown = cli.run("judge", "export", cli.name, "--endpoint", "chta", code=1)
    assert 'there is no endpoint "chta"' in unknown.told
    assert "chat" in unknown.told
