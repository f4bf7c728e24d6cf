"""The judge model: its verdicts, how it is measured against people, and every way in which it can fail."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from environments.errors import SluiceError
from reconciler.gates.eval.judge_model import Judge, Submission, agreement_of
from reconciler.gates.eval.suite import Label, LlmJudge
from tests.support.servers.http_stub import Answer, Asked, http_stub

LABELS = [{"input": f"q{i}", "answer": "good" if i < 6 else "bad", "good": i < 6} for i in range(10)]


def spec(url: str, **changes: Any) -> LlmJudge:
    """Return a judge's spec."""
    rubric = {"version": "2", "text": "The answer says good."}
    block = {"kind": "llm_judge", "url": f"{url}/v1", "model": "judge-1", "rubric": rubric, "timeout_s": 20.0}
    return LlmJudge.model_validate(block | changes)


def said(text: str) -> Answer:
    """Return an OpenAI-compatible answer."""
    return 200, {"choices": [{"message": {"role": "assistant", "content": text}}]}


def honest(asked: Asked) -> Answer:
    """Judge by whether the answer is `good`."""
    content = json.loads(asked.body)["messages"][0]["content"]
    return said(json.dumps({"good": '"answer": "good"' in content, "why": "read"}))


async def verdict(answer: Callable[[Asked], Answer], **changes: Any) -> bool:
    """Ask a judge once."""
    with http_stub(answer) as url:
        return (await Judge("j", spec(url, **changes)).score(Submission("q", None, "good"))).passed


@pytest.mark.parametrize(
    "text",
    ['{"good": true, "why": "yes"}', '```json\n{"good": true}\n```', 'Verdict: {"good": true, "why": "{x}"} there'],
)
async def test_a_verdict_is_read_whatever_stands_around_it(text: str) -> None:
    assert await verdict(lambda _: said(text))


@pytest.mark.parametrize(
    "answer",
    [
        said("yes, very good"),
        said('{"good": "true"}'),
        said('{"bad": true}'),
        said(""),
        (200, {"choices": []}),
        (200, b"<html>"),
        (500, {"error": "down"}),
        (404, {"error": "no such model"}),
    ],
)
async def test_no_verdict_is_an_error(answer: Answer) -> None:
    with pytest.raises(SluiceError) as caught:
        await verdict(lambda _: answer)
    assert caught.value.code == "EVAL-023"


async def test_a_judge_out_of_reach_is_an_error() -> None:
    with pytest.raises(SluiceError) as caught:
        await Judge("j", spec("http://127.0.0.1:9")).score(Submission("q", None, "a"))
    assert caught.value.code == "EVAL-023"


async def test_a_key_comes_from_the_environment_and_goes_to_trusted_hosts_only(monkeypatch: pytest.MonkeyPatch) -> None:
    """A suite names both the variable and the server, so that neither may be enough to send a key away."""
    sent: list[str | None] = []

    def keep(asked: Asked) -> Answer:
        sent.append(asked.headers.get("authorization"))
        return honest(asked)

    for name in ("JUDGE_KEY", "SLUICE_TRUSTED_HOSTS", "MLFLOW_TRACKING_URI"):
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(SluiceError, match="JUDGE_KEY"):
        await verdict(keep, api_key_env="JUDGE_KEY")
    monkeypatch.setenv("JUDGE_KEY", "k")
    with pytest.raises(SluiceError, match="SLUICE_TRUSTED_HOSTS"):
        await verdict(keep, api_key_env="JUDGE_KEY")
    assert sent == []
    monkeypatch.setenv("SLUICE_TRUSTED_HOSTS", "127.0.0.1")
    assert await verdict(keep, api_key_env="JUDGE_KEY")
    assert sent == ["Bearer k"]


async def test_equal_submissions_are_asked_once() -> None:
    seen: list[Asked] = []

    def count(asked: Asked) -> Answer:
        seen.append(asked)
        return honest(asked)

    with http_stub(count) as url:
        judge = Judge("j", spec(url))
        for _ in range(3):
            await judge.score(Submission("q", None, "good"))
        await judge.score(Submission("q", None, "bad"))
    assert len(seen) == 2
    assert json.loads(seen[0].body)["temperature"] == 0


async def test_agreement_is_measured_and_demanded() -> None:
    with http_stub(honest) as url:
        found = await Judge("j", spec(url, labels=LABELS)).agreement()
    assert found is not None
    assert (found.share, found.kappa) == (1.0, 1.0)
    with http_stub(lambda _: said('{"good": true}')) as url, pytest.raises(SluiceError) as caught:
        await Judge("j", spec(url, labels=LABELS)).agreement()
    assert caught.value.code == "EVAL-024"
    assert "6 of 10" in caught.value.problem.what
    assert await Judge("j", spec("http://127.0.0.1:9")).agreement() is None


def test_kappa_takes_chance_away() -> None:
    labels = [Label(input="q", answer="a", good=good) for good in [True] * 5 + [False] * 5]
    assert agreement_of(labels, [True] * 10).kappa == pytest.approx(0)
    assert agreement_of(labels, [not label.good for label in labels]).kappa == pytest.approx(-1)
    assert agreement_of(labels[:5], [True] * 5).kappa is None
    # Source of the figure: 20 yes/yes, 5 and 10 apart, 15 no/no of 50 give 0.4.
    people = [True] * 25 + [False] * 25
    judge = [True] * 20 + [False] * 5 + [True] * 10 + [False] * 15
    found = agreement_of([Label(input="q", answer="a", good=good) for good in people], judge)
    assert found.kappa == pytest.approx(0.4)


def test_another_rubric_under_the_same_version_shows() -> None:
    one = Judge("j", spec("http://127.0.0.1:9")).identity()
    other = Judge("j", spec("http://127.0.0.1:9", rubric={"version": "2", "text": "Another."})).identity()
    assert one["rubric_version"] == other["rubric_version"] == "2"
    assert one["rubric_digest"] != other["rubric_digest"]
