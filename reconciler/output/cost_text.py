"""Lines of a plan about money and time: a month, once for the rollouts, by team and by token. Pure.

What is unknown is `[?]` with its reason. On a narrow terminal the first line says the most.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import date

from reconciler.core.canonical import Json
from reconciler.output.capacity_text import UNKNOWN
from reconciler.output.words import duration_words

NARROW = 80
STALE_DAYS = 90


def cost_lines(cost: Json, created_at: str, *, width: int = 200) -> list[tuple[str, str]]:
    """Return `(label, words)` of a plan's cost; nothing for a plan without GPUs."""
    if not cost.get("steady_usd_per_hour") and not cost.get("unknown"):
        return []
    if not cost.get("steady_usd_per_hour"):
        return [*(("cost", f"{UNKNOWN} {reason}") for reason in cost["unknown"]), *time_lines(cost)]
    first = ("cost", _first(cost) if width < NARROW else f"{_first(cost)}{_once(cost)} ({_basis(cost, created_at)})")
    lines = [first, *(("cost", f"{UNKNOWN} {reason}: counted nowhere above") for reason in cost.get("unknown", []))]
    if width < NARROW:
        return lines
    lines += [("cost", _team(each)) for each in cost.get("teams", []) if len(cost["teams"]) > 1 or _budget(each)]
    lines += [("cost", _tokens(each)) for each in cost.get("tokens", [])]
    return lines + time_lines(cost)


def time_lines(cost: Json) -> list[tuple[str, str]]:
    """Return how long each rollout takes: when nothing is in the way, and at most."""
    told = []
    for each in cost.get("rollouts", []):
        ideal, most = duration_words(each["ideal_s"]), duration_words(each["most_s"])
        waves = f" in {each['waves']} waves" if each["waves"] > 1 else ""
        told.append(("time", f"{each['endpoint']}: {ideal}{waves} when nothing is in the way, {most} at most"))
    return told


def _first(cost: Json) -> str:
    return f"{cost['steady_usd_per_month']:,.0f} USD a month ({cost['steady_usd_per_hour']:.2f} an hour)"


def _once(cost: Json) -> str:
    rollouts = [each for each in cost.get("rollouts", []) if each["surge_usd"] != 0 or each["warm_usd"] != 0]
    if not rollouts:
        return ""
    surge, warm = (_sum(each[key] for each in rollouts) for key in ("surge_usd", "warm_usd"))
    return f"; once {surge} USD for rollouts and {warm} for slots kept warm"


def _sum(parts: Iterable[float | None]) -> str:
    found = list(parts)
    known = [each for each in found if each is not None]
    return UNKNOWN if len(known) < len(found) else f"{sum(known):,.2f}"


def _basis(cost: Json, created_at: str) -> str:
    name, _, day = cost["prices"].rpartition(" ")
    try:
        age = (date.fromisoformat(created_at[:10]) - date.fromisoformat(day)).days
    except ValueError:
        return f"list prices, {cost['prices']}"
    old = f", {age} days old: sluice prices refresh" if age > STALE_DAYS else ""
    return f"list prices, {name} {day}{old}"


def _team(each: Json) -> str:
    spent = UNKNOWN if each["usd_per_month"] is None else f"{each['usd_per_month']:,.0f}"
    return f"team {each['team']}: {spent}{_budget(each)} USD a month"


def _budget(each: Json) -> str:
    return f" of {each['budget_usd_per_month']:,.0f}" if each["budget_usd_per_month"] is not None else ""


def _tokens(each: Json) -> str:
    if each["usd_per_million_input"] is None:
        return f"{each['address']}: {UNKNOWN} a million tokens: no price, or no rate is declared or was measured"
    read, written = each["usd_per_million_input"], each["usd_per_million_output"]
    rate = f"{each['requests_per_s']:g} requests/s, {each['basis']}"
    return f"{each['address']}: {read:.2f} USD a million tokens in, {written:.2f} out ({rate})"
