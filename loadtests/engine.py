"""The open-loop load engine: sends a profile's requests when they are due, whatever the targets do, and keeps records.

Imports `environments.errors` and the modules of `loadtests`. The load gate, the comparison, the search, the locust
entry and the bench call it. It goes nowhere but to `Target`s, which `checked_target` has checked against an allow-list.
"""

from __future__ import annotations

import asyncio
import gc
import uuid
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from time import perf_counter
from typing import Literal

from environments.errors import SluiceError
from loadtests.arm import Arm
from loadtests.profile import Profile
from loadtests.stream import Outcome, Stream
from loadtests.target import Target
from loadtests.workload import Session, Turn, Workload, plan_workload

Abort = Callable[[], Awaitable[str | None]]
_SWEEP_S = 0.05
_EARLY_S = 0.00005  # timers of event loops count milliseconds; below this, sending now is nearer than waiting
_DRAIN_EXTRA_S = 2.0
# Above this rate arrivals are looked for once a millisecond: waiting for each by itself would cost a third of the core.
_BUSY_RPS = 2000.0
_TICK_S = 0.001


@dataclass(frozen=True)
class Hooks:
    """What a caller may plug into a run.

    `abort` is asked every `LiveGuard.poll_s` seconds and returns why the load must stop, or None. `on_done` is given
    every finished stream, warm-up included (`Stream.session` < 0). `shard` (i, n) sends the i-th of n parts.
    `start_in_s` waits before the warm-up, so that several machines begin together.
    """

    abort: Abort | None = None
    on_done: Callable[[Stream], None] | None = None
    shard: tuple[int, int] = (0, 1)
    start_in_s: float = 0.0


@dataclass(frozen=True)
class LoadRun:
    """Everything that a load did. `arms` is one log a target, in the order given.

    `outcome`: `completed`; `aborted` (the caller's hook said stop); `given_up` (a target answered nothing any more).
    `began` is the `perf_counter` time of second 0, the end of the warm-up. `lags_s` is how late the engine itself was
    for each arrival: above a few milliseconds the generator, not the target, is being measured.
    """

    profile: Profile
    targets: tuple[Target, ...]
    arms: tuple[tuple[Stream, ...], ...]
    outcome: Literal["completed", "aborted", "given_up"]
    code: str | None
    reason: str
    began: float
    ended: float
    lags_s: tuple[float, ...] = field(repr=False)
    in_flight_max: tuple[int, ...]
    cut: bool


async def run_load(
    profile: Profile, targets: Sequence[Target], *, folder: Path = Path(), hooks: Hooks | None = None
) -> LoadRun:
    """Send the profile's load to every target at the same time and return when it has ended.

    Two targets get the same requests at the same moments; which of them goes first alternates. Ends after at most
    warm-up + `duration_s` + `timeout_s` + 2 s. `folder` is where a trace's relative name begins.

    Raises:
        SluiceError: `LOAD-020` a target does not answer one request; `LOAD-006`, `LOAD-007` nothing to send.
    """
    chosen = hooks or Hooks()
    salt = uuid.uuid4().hex[:8]
    work = plan_workload(profile, model=targets[0].model, salt=salt, folder=folder, shard=chosen.shard)
    run = _Run(profile, targets, work=work, hooks=chosen, salt=salt)
    try:
        for arm in run.arms:
            await _probe(arm, work.probe, profile)
        await asyncio.sleep(chosen.start_in_s)
        return await run.drive()
    finally:
        for arm in run.arms:
            arm.close()


async def _probe(arm: Arm, turn: Turn, profile: Profile) -> None:
    """Send one request and wait for it."""
    done = asyncio.get_running_loop().create_future()
    arm.on_finished = done.set_result
    stream = arm.begin(turn, session=-1_000_000, number=0, at=perf_counter())
    try:
        await asyncio.wait_for(asyncio.shield(done), profile.timeout_s)
    except TimeoutError:
        arm.abandon(stream, Outcome.TIMEOUT, f"no whole answer in {profile.timeout_s:g} s")
    arm.streams.clear()
    if not stream.ok:
        raise SluiceError(
            "LOAD-020",
            where=arm.target.name,
            what=f"{arm.target.origin}{arm.target.prefix} does not answer a single request",
            why=f"{stream.outcome}: {stream.detail}",
            do="see that the server is up and serves this model; no load was sent",
            retryable=stream.outcome in (Outcome.CONNECT, Outcome.TIMEOUT, Outcome.TRUNCATED),
        )


class _Run:
    """One load in progress. Callbacks only: a task a request would cost more than the request."""

    def __init__(self, profile: Profile, targets: Sequence[Target], *, work: Workload, hooks: Hooks, salt: str) -> None:
        self._profile = profile
        self._hooks = hooks
        self._work = work
        self._loop = asyncio.get_running_loop()
        self._over = asyncio.Event()
        self._next = 0
        self._thinking = 0
        self._zero = 0.0
        self._stop: tuple[Literal["aborted", "given_up"], str, str] | None = None
        self._lags: list[float] = []
        rate_rps = len(work.sessions) / (profile.duration_s + profile.warmup_s)
        self._tick_s = _TICK_S if rate_rps > _BUSY_RPS else 0.0
        self._sessions = {session.number: session for session in work.sessions}
        self.arms = tuple(
            Arm(index, target, profile=profile, salt=salt, on_done=hooks.on_done)
            for index, target in enumerate(targets)
        )

    async def drive(self) -> LoadRun:
        """Send everything, wait for the answers, and return the log."""
        for arm in self.arms:
            arm.on_finished = self._finished
        gc.collect()
        gc.freeze()  # a collection that walks every imported module stops the load for tens of milliseconds
        self._zero = perf_counter() + self._profile.warmup_s
        self._pace()
        self._sweep()
        watch = asyncio.create_task(self._watch())
        limit = self._profile.warmup_s + self._profile.duration_s + self._profile.timeout_s + _DRAIN_EXTRA_S
        try:
            await asyncio.wait_for(self._over.wait(), limit)
        except TimeoutError:
            self._halt("given_up", "LOAD-021", f"the load did not end within {limit:g} s")
        finally:
            gc.unfreeze()
            watch.cancel()
            self._over.set()
            for arm in self.arms:
                arm.abandon_all(Outcome.CANCELLED, "the load was stopped")
        return self._log()

    def _log(self) -> LoadRun:
        outcome, code, reason = self._stop or ("completed", None, "")
        return LoadRun(
            profile=self._profile,
            targets=tuple(arm.target for arm in self.arms),
            arms=tuple(tuple(arm.streams) for arm in self.arms),
            outcome=outcome,
            code=code,
            reason=reason,
            began=self._zero,
            ended=perf_counter(),
            lags_s=tuple(self._lags),
            in_flight_max=tuple(arm.in_flight_max for arm in self.arms),
            cut=self._work.cut,
        )

    def _pace(self) -> None:
        """Start every session that is due, then sleep until the next one."""
        sessions = self._work.sessions
        while self._next < len(sessions) and not self._over.is_set():
            session = sessions[self._next]
            due = self._zero + session.at_s
            now = perf_counter()
            if due > now + _EARLY_S:
                self._loop.call_later(max(self._tick_s, due - now), self._pace)
                return
            self._next += 1
            self._lags.append(max(0.0, now - due))
            self._open(session, due)
        self._check_over()

    def _open(self, session: Session, due: float) -> None:
        arms = self.arms if session.number % 2 == 0 else self.arms[::-1]
        for arm in arms:
            arm.begin(session.turns[0], session=session.number, number=0, at=due)

    def _finished(self, stream: Stream) -> None:
        """Plan the next turn of the conversation, or see whether everything is over."""
        session = self._sessions[stream.session]
        number = stream.turn + 1
        due = stream.end + (self._profile.sessions.think_s if self._profile.sessions else 0.0)
        if stream.ok and number < len(session.turns) and due < self._zero + self._profile.duration_s:
            self._thinking += 1
            self._loop.call_later(due - perf_counter(), self._continue, session, stream.arm, number, due)
        arm = self.arms[stream.arm]
        if arm.given_up:
            why = (
                f"{arm.target.name}: the last {arm.failed_in_a_row} requests failed; {stream.outcome}: {stream.detail}"
            )
            self._halt("given_up", "LOAD-022", why)
        self._check_over()

    def _continue(self, session: Session, arm: int, number: int, due: float) -> None:
        self._thinking -= 1
        if not self._over.is_set():
            self.arms[arm].begin(session.turns[number], session=session.number, number=number, at=due)

    def _check_over(self) -> None:
        sent = self._next >= len(self._work.sessions)
        if sent and not self._thinking and not any(arm.in_flight for arm in self.arms):
            self._over.set()

    def _halt(self, outcome: Literal["aborted", "given_up"], code: str, reason: str) -> None:
        self._stop = self._stop or (outcome, code, reason)
        self._over.set()

    def _sweep(self) -> None:
        """End requests that have waited too long; one timer for all costs less than one for each."""
        if self._over.is_set():
            return
        now = perf_counter()
        for arm in self.arms:
            arm.expire(now)
        self._loop.call_later(_SWEEP_S, self._sweep)

    async def _watch(self) -> None:
        """Ask the caller's hook, again and again, whether the load must stop. A hook that breaks stops it too."""
        if self._hooks.abort is None:
            return
        while not self._over.is_set():
            try:
                reason = await asyncio.wait_for(self._hooks.abort(), max(5.0, 5 * self._profile.live_guard.poll_s))
            except Exception as error:  # noqa: BLE001 - whatever a blind guard raises, load must not go on
                reason = f"the guard of live traffic failed: {error or type(error).__name__}"
            if reason is not None:
                self._halt("aborted", "LOAD-023", reason)
                return
            await asyncio.sleep(self._profile.live_guard.poll_s)
