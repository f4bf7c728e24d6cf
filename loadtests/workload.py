"""What is sent when: profile and seed become conversations with ready-made request bodies before the first is sent.

Imports numpy, `loadtests.arrivals`, `loadtests.lengths` and `loadtests.profile`. Called by the engine.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from environments.errors import SluiceError
from loadtests.arrivals import Schedule, schedule
from loadtests.lengths import draw_lengths
from loadtests.profile import Constant, FixedLength, Profile

_WORDS = """
    about after again below could every first found great house large learn never other place plant point right
    small sound spell still study their there these thing think three water where which world would write amber
    birch cedar delta ember fjord grove haven inlet jetty knoll ledge marsh north ocean prism quiet ridge shore
"""
_RING = 8192


@dataclass(frozen=True, slots=True)
class Turn:
    """One request of a conversation: its JSON body and the token counts that were drawn for it."""

    body: bytes
    prompt_tokens: int
    output_tokens: int


@dataclass(frozen=True, slots=True)
class Session:
    """A conversation that opens `at_s` seconds into the load (before 0: warm-up). Most have one turn."""

    number: int
    at_s: float
    turns: tuple[Turn, ...]


@dataclass(frozen=True)
class Workload:
    """Sessions sorted by `at_s`; `cut` says that `max_requests` left out the end.

    `probe` is one more request, like no other, that asks whether the target is there at all.
    """

    probe: Turn
    sessions: tuple[Session, ...]
    cut: bool


def plan_workload(
    profile: Profile, *, model: str, salt: str, folder: Path = Path(), shard: tuple[int, int] = (0, 1)
) -> Workload:
    """Return everything that will be sent. Same profile and seed: same arrivals and lengths.

    `salt` begins every prompt: a server that still caches the prefixes of an earlier run must not win by it.
    `shard` (i, n) keeps every n-th session from the i-th on, so that n machines send one load together.

    Raises:
        SpecError: `LOAD-007` a bad trace.
        SluiceError: `LOAD-006` nothing would be sent.
    """
    rng = np.random.default_rng(profile.seed)
    timed = schedule(profile.arrivals, profile.duration_s, rng=rng, folder=folder)
    writer = _Writer(profile, model=model, salt=salt, rng=rng)
    main = _sessions(profile, timed, writer, rng)
    kept, cut = _bounded(main, profile.max_requests)
    if not kept:
        raise SluiceError(
            "LOAD-006",
            where=profile.profile,
            what="the profile sends no request",
            why=f"no arrival falls into {profile.duration_s:g} s, or `max_requests` is below one conversation",
            do="raise the rate, `duration_s` or `max_requests`",
        )
    mine = [session for session in kept if session.number % shard[1] == shard[0]]
    (probe,) = writer.turns("probe", [(8, 4)])
    return Workload(probe, (*_warmup(profile, writer, rng, share=shard[1]), *mine), cut)


def _sessions(profile: Profile, timed: Schedule, writer: _Writer, rng: np.random.Generator) -> list[Session]:
    count = len(timed.at_s)
    turns = np.ones(count, dtype=np.int64)
    if profile.sessions is not None:
        turns = draw_lengths(profile.sessions.turns, count, rng=rng)
    total = int(turns.sum())
    prompts = draw_lengths(profile.prompt_tokens, total, rng=rng)
    outputs = draw_lengths(profile.output_tokens, total, rng=rng)
    ends = np.cumsum(turns)
    for index, line in enumerate(timed.trace):
        first = int(ends[index] - turns[index])
        prompts[first] = line.prompt_tokens or prompts[first]
        outputs[first] = line.output_tokens or outputs[first]
    pairs = list(zip(prompts.tolist(), outputs.tolist(), strict=True))
    return [
        Session(number, float(at_s), writer.turns(str(number), pairs[end - n : end]))
        for number, (at_s, n, end) in enumerate(zip(timed.at_s, turns.tolist(), ends.tolist(), strict=True))
    ]


def _bounded(sessions: list[Session], requests_max: int) -> tuple[list[Session], bool]:
    """Keep sessions in order until their turns together would pass `requests_max`."""
    totals = np.cumsum([len(session.turns) for session in sessions])
    keep = int(np.searchsorted(totals, requests_max, side="right"))
    return sessions[:keep], keep < len(sessions)


def _warmup(profile: Profile, writer: _Writer, rng: np.random.Generator, *, share: int) -> list[Session]:
    """Return single-turn sessions at equal gaps before 0, numbered below 0."""
    rate = Constant(kind="constant", rate_rps=profile.warmup_rps / share)
    if profile.warmup_s == 0:
        return []
    at_s = schedule(rate, profile.warmup_s, rng=rng, folder=Path()).at_s - profile.warmup_s
    lengths = profile.prompt_tokens if profile.sessions is None else FixedLength(kind="fixed", tokens=16)
    prompts = draw_lengths(lengths, len(at_s), rng=rng).tolist()
    outputs = draw_lengths(profile.output_tokens, len(at_s), rng=rng).tolist()
    return [
        Session(index - len(at_s), float(at), writer.turns(f"w{index}", [(prompt, output)]))
        for index, (at, prompt, output) in enumerate(zip(at_s, prompts, outputs, strict=True))
    ]


class _Writer:
    """Makes request bodies. Text is cut from a ring of words, so that a prompt costs a slice and a join."""

    def __init__(self, profile: Profile, *, model: str, salt: str, rng: np.random.Generator) -> None:
        self._profile = profile
        self._model = model
        self._salt = salt
        words = _WORDS.split()
        self._ring = [words[i] for i in rng.integers(0, len(words), size=_RING).tolist()]
        self._next = 0
        self._prefix = self._text(profile.shared_prefix_tokens) if profile.shared_prefix_tokens else ""

    def turns(self, name: str, lengths: list[tuple[int, int]]) -> tuple[Turn, ...]:
        """Return the turns of one conversation for (prompt, output) token counts; `name` makes its text unique."""
        history: list[dict[str, str]] = []
        if self._prefix:
            history.append({"role": "system", "content": f"{self._salt} {self._prefix}"})
        turns = []
        for prompt, output in lengths:
            history.append({"role": "user", "content": f"{self._salt} {name} {self._text(prompt)}"})
            turns.append(Turn(self._body(history, output), prompt, output))
            history.append({"role": "assistant", "content": self._text(output)})
        return tuple(turns)

    def _body(self, history: list[dict[str, str]], output: int) -> bytes:
        body: dict[str, object] = {
            "model": self._model,
            "max_tokens": output,
            "temperature": self._profile.temperature,
            "stream": True,
            "stream_options": {"include_usage": True},
        }
        if self._profile.ignore_eos:
            body["ignore_eos"] = True
        if self._profile.api == "chat":
            body["messages"] = history
        else:
            body["prompt"] = "\n".join(message["content"] for message in history)
        return json.dumps(body, separators=(",", ":")).encode()

    def _text(self, tokens: int) -> str:
        start = self._next
        self._next = (start + tokens) % _RING
        if start + tokens <= _RING:
            return " ".join(self._ring[start : start + tokens])
        return " ".join(self._ring[(start + i) % _RING] for i in range(tokens))
