"""Asks a server every question of a suite over the OpenAI chat interface, and stops all at the first that fails.

Imports httpx inside. The gate calls `ask_all` for each arm. An answer that does not come is an error, never an empty
answer: it would be scored.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from environments.errors import SluiceError
from reconciler.gates.eval.perturb import variants
from reconciler.gates.eval.suite import Requests, Sampling, Suite

if TYPE_CHECKING:
    import httpx

_ATTEMPTS = 2
Message = Mapping[str, str]


@dataclass(frozen=True, order=True)
class Question:
    """One thing to ask: an input of a case, and which repeat of it this is. (case, variant, repeat) is its identity."""

    case: str
    variant: str
    repeat: int
    input: str


@dataclass(frozen=True)
class Answer:
    """What a server said to a question; `text` is empty when it chose to say nothing."""

    question: Question
    text: str


@dataclass(frozen=True)
class Asked:
    """Whom to ask: the server's base address, the model's served name, and the messages before each input."""

    name: str
    url: str
    model: str
    before: tuple[Message, ...] = ()


def questions(suite: Suite) -> tuple[Question, ...]:
    """Return every question of a suite, in its order."""
    return tuple(
        Question(case.id, variant.name, repeat, variant.input)
        for case in suite.cases
        for variant in variants(case, suite.perturbations)
        for repeat in range(suite.sampling.repeats)
    )


def messages_of(prompt: str | None) -> tuple[Message, ...]:
    """Return the messages of a prompt: a text is one system message, a chat prompt is a JSON list of messages."""
    if not prompt:
        return ()
    try:
        listed = json.loads(prompt)
    except ValueError:
        listed = None
    if (
        isinstance(listed, list)
        and listed
        and all(isinstance(m, dict) and {"role", "content"} <= m.keys() for m in listed)
    ):
        return tuple({"role": str(m["role"]), "content": str(m["content"])} for m in listed)
    return ({"role": "system", "content": prompt},)


async def ask_all(
    target: Asked, suite: Suite, asked: Sequence[Question], told: Callable[[], None] = lambda: None
) -> tuple[Answer, ...]:
    """Return the answer to each question, in their order; `told` is called for each as it comes.

    Raises:
        SluiceError: `EVAL-021` one of them was not answered; the others are cancelled.
    """
    import httpx

    wanted = suite.requests
    limits = httpx.Limits(max_connections=wanted.concurrency)
    plain = not target.url.startswith("https:")
    places = asyncio.Semaphore(wanted.concurrency)
    try:
        async with (
            asyncio.timeout(wanted.total_s),
            httpx.AsyncClient(limits=limits, timeout=wanted.timeout_s, verify=not plain, trust_env=False) as client,
            asyncio.TaskGroup() as group,
        ):
            tasks = [group.create_task(_ask(client, target, suite, question, places)) for question in asked]
            for task in tasks:
                task.add_done_callback(lambda _: told())
    except TimeoutError:
        raise _unanswered(target, f"the suite was not through after {wanted.total_s:g} s", requests=wanted) from None
    except ExceptionGroup as failed:
        raise failed.exceptions[0] from None
    return tuple(task.result() for task in tasks)


async def _ask(
    client: httpx.AsyncClient, target: Asked, suite: Suite, question: Question, places: asyncio.Semaphore
) -> Answer:
    body = {
        "model": target.model,
        "messages": [*target.before, {"role": "user", "content": question.input}],
        **_drawn(suite.sampling, question.repeat),
    }
    async with places:
        try:
            async with asyncio.timeout(suite.requests.timeout_s):
                content = await post_chat(client, f"{target.url.rstrip('/')}/v1/chat/completions", body)
        except TimeoutError:
            why = f"no answer to the case {question.case} within {suite.requests.timeout_s:g} s"
            raise _unanswered(target, why, requests=suite.requests) from None
        except ChatError as error:
            raise _unanswered(target, f"the case {question.case}: {error}", requests=suite.requests) from None
    return Answer(question, content)


class ChatError(Exception):
    """A server did not answer as an OpenAI-compatible server does; the text says how."""


async def post_chat(
    client: httpx.AsyncClient, url: str, body: Mapping[str, Any], headers: Mapping[str, str] | None = None
) -> str:
    """Return the text of a chat completion; a broken connection and a 5xx are tried once more.

    Raises:
        ChatError: no answer, another status than 200, or an answer of another shape.
        TimeoutError: no answer within the client's time.
    """
    import httpx

    said = ""
    for _ in range(_ATTEMPTS):
        try:
            reply = await client.post(url, json=body, headers=headers)
        except httpx.TimeoutException:
            raise TimeoutError from None
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            said = f"{type(error).__name__}: {error}"
            continue
        if reply.status_code == 200:
            return _text(reply)
        said = f"HTTP {reply.status_code}: {' '.join(reply.text.split())[:200]}"
        if reply.status_code < 500:
            break
    raise ChatError(said)


def _text(reply: httpx.Response) -> str:
    try:
        content = reply.json()["choices"][0]["message"]["content"]
    except (ValueError, LookupError, TypeError):
        raise ChatError(f"an answer without choices[0].message.content: {reply.text[:200]}") from None
    if content is None:
        return ""
    if not isinstance(content, str):
        raise ChatError("an answer whose content is not text")
    return content


def _drawn(sampling: Sampling, repeat: int) -> dict[str, Any]:
    """Return the sampling of one repeat: both arms get the same seed, each repeat another."""
    drawn = {"temperature": sampling.temperature, "max_tokens": sampling.max_tokens, "top_p": sampling.top_p}
    return {**drawn, "seed": sampling.seed + repeat, "stream": False}


def _unanswered(target: Asked, what: str, *, requests: Requests) -> SluiceError:
    return SluiceError(
        "EVAL-021",
        where=f"{target.name} at {target.url}",
        what=f"the {target.name} did not answer: {what}",
        why="a missing answer has no score, and without a score nothing passes",
        do=f"look at the server's log; `requests` of the suite allows {requests.timeout_s:g} s an answer",
        retryable=True,
    )
