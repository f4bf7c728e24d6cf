"""The eval gate over HTTP against real server processes: every verdict, and everything that must not end in a pass."""

from __future__ import annotations

import functools
import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import httpx
import pytest

from environments.errors import SluiceError
from reconciler.gates.eval import scorers
from reconciler.gates.eval.gate import EvalGate
from reconciler.ports import GateEvidence
from tests.support.builders.eval_context import PROMPT, eval_context, release
from tests.support.servers.doubles import RunningDouble, model_folder, running_double

CASES = 300
CLIENT = httpx.Client(verify=False, timeout=60)


@pytest.fixture(scope="module")
def arms(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[RunningDouble, RunningDouble]]:
    """Run a champion and a challenger that answer differently."""
    folder = tmp_path_factory.mktemp("models")
    with (
        running_double(model_folder(folder, "old", content="old", ttft_ms=0.1, itl_ms=0.01)) as champion,
        running_double(model_folder(folder, "new", content="new", ttft_ms=0.1, itl_ms=0.01)) as challenger,
    ):
        yield champion, challenger


@functools.cache
def say(url: str, text: str) -> str:
    """Return what a server answers to `text` as the gate would ask it."""
    messages = [{"role": "system", "content": PROMPT}, {"role": "user", "content": text}]
    body = {"model": "chat", "messages": messages, "max_tokens": 4, "temperature": 0}
    answer: str = CLIENT.post(f"{url}/v1/chat/completions", json=body).json()["choices"][0]["message"]["content"]
    return answer


def suite_of(arms: tuple[RunningDouble, RunningDouble], *, cases: int, lost: int, **blocks: Any) -> str:
    """Return a suite that the champion passes wholly, and the challenger but for its last `lost` cases."""
    listed = []
    for index in range(cases):
        text = f"question number {index}"
        right = [say(arms[0].url, text)] + ([] if index >= cases - lost else [say(arms[1].url, text)])
        expected = "^(" + "|".join(right) + ")$"
        listed.append({"id": f"c{index}", "input": text, "expected": expected, "scorer": "right"})
    suite = {"suite": "made", "version": 1, "prompt": "system", "sampling": {"max_tokens": 4}}
    return json.dumps(suite | {"scorers": {"right": {"kind": "regex"}}, "cases": listed} | blocks)


async def ask(folder: Path, arms: tuple[RunningDouble, RunningDouble], suite: str, **changes: Any) -> GateEvidence:
    """Ask the gate."""
    context = eval_context(folder, suite, challenger=arms[1].url, champion=arms[0].url, **changes)
    return await EvalGate().evidence(context)


async def test_six_points_down_fails(arms: tuple[RunningDouble, RunningDouble], tmp_path: Path) -> None:
    found = await ask(tmp_path, arms, suite_of(arms, cases=CASES, lost=18))
    assert found.verdict == "FAIL", found.sentence
    assert "a drop of 6.0 points" in found.sentence
    assert "lost: c282" in found.sentence
    drop = found.figures["findings"][0]["figures"]
    assert drop["low"] > 0.02
    assert drop["lost"] == [f"c{i}" for i in range(282, 300)]


async def test_an_equal_release_passes(arms: tuple[RunningDouble, RunningDouble], tmp_path: Path) -> None:
    found = await ask(tmp_path, arms, suite_of(arms, cases=CASES, lost=0))
    assert found.verdict == "PASS", found.sentence
    junit = next(Path(link) for link in found.links if link.endswith(".xml"))
    assert ElementTree.parse(junit).getroot().get("failures") == "0"
    kept = json.loads(next(Path(link) for link in found.links if link.endswith(".json")).read_text())
    assert len(kept["answers"]) == 2 * CASES
    assert found.figures["suite"]["digest"].startswith("sha256:")


async def test_a_small_sample_is_inconclusive_and_says_how_many(
    arms: tuple[RunningDouble, RunningDouble], tmp_path: Path
) -> None:
    found = await ask(tmp_path, arms, suite_of(arms, cases=30, lost=0))
    assert found.verdict == "INCONCLUSIVE"
    assert "30 cases are too few to tell: about 149 that go like these would do" in found.sentence


async def test_a_small_complete_list_passes_and_fails(
    arms: tuple[RunningDouble, RunningDouble], tmp_path: Path
) -> None:
    equal = await ask(tmp_path, arms, suite_of(arms, cases=30, lost=0, population="cases"))
    assert equal.verdict == "PASS", equal.sentence
    worse = await ask(tmp_path, arms, suite_of(arms, cases=30, lost=1, population="cases"))
    assert worse.verdict == "FAIL", worse.sentence


async def test_without_a_champion_only_thresholds_count(
    arms: tuple[RunningDouble, RunningDouble], tmp_path: Path
) -> None:
    for threshold, verdict in ((0.9, "PASS"), (1.0, "FAIL")):
        text = suite_of(arms, cases=20, lost=1, thresholds={"right": threshold})
        context = eval_context(tmp_path, text, challenger=arms[1].url, champion=None)
        found = await EvalGate().evidence(context)
        assert found.verdict == verdict, found.sentence
    context = eval_context(tmp_path, suite_of(arms, cases=2, lost=0), challenger=arms[1].url, champion=None)
    assert (await EvalGate().evidence(context)).verdict == "INCONCLUSIVE"


async def test_the_release_s_own_prompt_is_asked_with(
    arms: tuple[RunningDouble, RunningDouble], tmp_path: Path
) -> None:
    await ask(tmp_path, arms, suite_of(arms, cases=1, lost=0, population="cases"))
    assert arms[1].seen()["last_prompt"].startswith(f"<|system|> {PROMPT} <|user|> question number 0")
    bare = release("new", prompt=None)
    with pytest.raises(SluiceError) as caught:
        await ask(tmp_path, arms, suite_of(arms, cases=1, lost=0), releases=(bare, release("old")))
    assert caught.value.code == "EVAL-020"


@pytest.mark.parametrize("fault", [{"hang_rate": 1.0}, {"error_rate": 1.0}, {"break_rate": 1.0}])
async def test_a_target_that_does_not_answer_is_an_error(
    arms: tuple[RunningDouble, RunningDouble], tmp_path: Path, fault: dict[str, float]
) -> None:
    text = suite_of(arms, cases=8, lost=0, requests={"timeout_s": 1.0})
    arms[1].set(**fault)
    try:
        with pytest.raises(SluiceError) as caught:
            await ask(tmp_path, arms, text)
    finally:
        arms[1].set(**dict.fromkeys(fault, 0.0))
    assert caught.value.code == "EVAL-021"
    assert "the challenger did not answer" in caught.value.problem.what


async def test_a_scorer_that_crashes_is_an_error(
    arms: tuple[RunningDouble, RunningDouble], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def crash(*_: object) -> scorers.Score:
        raise ZeroDivisionError("division by zero")

    text = suite_of(arms, cases=3, lost=0)
    monkeypatch.setitem(scorers.SCORE, "regex", crash)
    with pytest.raises(SluiceError) as caught:
        await ask(tmp_path, arms, text)
    assert caught.value.code == "EVAL-022"
    assert "ZeroDivisionError" in caught.value.problem.what


async def test_a_judge_out_of_reach_is_an_error(arms: tuple[RunningDouble, RunningDouble], tmp_path: Path) -> None:
    judge = {"kind": "llm_judge", "url": "http://127.0.0.1:9/v1", "model": "j", "rubric": {"version": "1", "text": "x"}}
    suite = json.loads(suite_of(arms, cases=2, lost=0))
    suite["scorers"]["judged"] = judge
    with pytest.raises(SluiceError) as caught:
        await ask(tmp_path, arms, json.dumps(suite | {"every": ["judged"]}))
    assert caught.value.code == "EVAL-023"


async def test_a_bad_suite_is_an_error_at_its_line(arms: tuple[RunningDouble, RunningDouble], tmp_path: Path) -> None:
    with pytest.raises(SluiceError) as caught:
        await ask(tmp_path, arms, "suite: made\nversion: one\n")
    assert caught.value.code == "EVAL-004"
    assert f"{tmp_path / 'suite.yaml'}:2" in str(caught.value)


async def test_an_mlflow_that_is_down_changes_no_verdict_and_is_said(
    arms: tuple[RunningDouble, RunningDouble], tmp_path: Path
) -> None:
    text = suite_of(arms, cases=5, lost=0, population="cases")
    context = eval_context(tmp_path, text, challenger=arms[1].url, champion=arms[0].url)
    context = replace(context, challenger=release("new", ref="mlflow:chat-llm/2", run_id="r"))
    found = await EvalGate("http://127.0.0.1:9").evidence(context)
    assert found.verdict == "PASS"
    assert found.links[-1].startswith("warning: not logged to MLflow")
    assert found.figures["mlflow"]["run_id"] is None
