"""`python -m loadtests` as a process: its answers, its exit codes, and that it never outlives whoever started it."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from asyncio.subprocess import PIPE, Process
from pathlib import Path

import pytest

from tests.support.servers.sse_server import SseServer, sse_server

ROOT = Path(__file__).resolve().parents[2]
PROFILE = """\
profile: cli
arrivals: {kind: constant, rate_rps: 40}
duration_s: %s
warmup_s: 0
timeout_s: 20
output_tokens: {kind: fixed, tokens: 3}
live_guard: {poll_s: 0.1}
"""


async def start(
    folder: Path, server: SseServer, *more: str, duration_s: float = 0.5, profile: str = PROFILE
) -> Process:
    path = folder / "profile.yaml"
    path.write_text(profile % duration_s if "%s" in profile else profile)
    return await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "loadtests", "--profile", str(path), "--url", server.url, "--model", "m", *more),
        stdin=PIPE,
        stdout=PIPE,
        stderr=PIPE,
        env=os.environ | {"PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1"},
    )


async def test_a_run_prints_its_figures(tmp_path: Path) -> None:
    async with sse_server() as server:
        child = await start(tmp_path, server, "--allow", server.url)
        out, err = await child.communicate()
    assert child.returncode == 0, err
    answer = json.loads(out)
    assert answer["outcome"] == "completed"
    assert answer["arms"][0]["ok"] == 20


async def test_shards_send_the_load_once(tmp_path: Path) -> None:
    async with sse_server() as server:
        children = [await start(tmp_path, server, "--allow", server.url, "--shard", f"{i}/3") for i in range(3)]
        answers = [json.loads((await child.communicate())[0]) for child in children]
    assert sum(answer["arms"][0]["requests"] for answer in answers) == 20


async def test_the_load_stops_when_whoever_started_it_has_gone(tmp_path: Path) -> None:
    async with sse_server() as server:
        child = await start(tmp_path, server, "--allow", server.url, "--events", duration_s=100.0)
        assert child.stdin is not None
        assert child.stdout is not None
        first = json.loads(await child.stdout.readline())
        assert first["done"][0][3] == "ok"
        child.stdin.close()
        rest = (await child.stdout.read()).decode().splitlines()
        assert await child.wait() == 4
    result = json.loads(rest[-1])["result"]
    assert (result["outcome"], result["code"]) == ("aborted", "LOAD-023")


@pytest.mark.parametrize(
    ("allow", "profile", "code"),
    [("http://127.0.0.1:1", PROFILE, "LOAD-011"), ("", "profile: cli\nrate: 3\n", "LOAD-003")],
    ids=["not allowed", "bad profile"],
)
async def test_errors_are_coded_and_send_nothing(tmp_path: Path, allow: str, profile: str, code: str) -> None:
    async with sse_server() as server:
        child = await start(tmp_path, server, "--allow", allow or server.url, profile=profile)
        out, err = await child.communicate()
        assert child.returncode == 1
        assert out == b""
        assert code in err.decode()
        assert b"Traceback" not in err
        assert server.requests == 0
