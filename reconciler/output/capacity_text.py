"""Lines of a plan about GPUs: memory of a release, and both ways of a surge with what each gives back. Pure."""

from __future__ import annotations

from reconciler.core.canonical import Json
from reconciler.core.memory.estimate import Fit
from reconciler.output.words import duration_words

_FITS = {Fit.FITS: "fits", Fit.MAY: "may not fit", Fit.NOT: "does NOT fit"}
UNKNOWN = "[?]"


def memory_line(line: Json) -> str:
    """Return one release's memory in a line: what fits, from what, and how sure that is."""
    told = line["memory"]
    head = f"{line['address']}  {told['gpu']}"
    if told["fit"] is None:
        return f"{head}: {UNKNOWN} {told['unknown']}"
    held = f"{_range(told['kv_cache_tokens'], 0)} tokens of KV cache, {_range(told['max_concurrency'], 1)} requests"
    if told["max_model_len"]:
        held += f" of {told['max_model_len']:,}"
    return f"{head}: {_FITS[Fit(told['fit'])]}; {held} {_basis(told)}"


def memory_style(line: Json) -> str:
    """Return how a terminal shows it: red where it does not fit."""
    return "bold red" if line["memory"]["fit"] == Fit.NOT else "dim"


def surge_matters(line: Json) -> bool:
    """Say whether there is a choice: with one replica, or without GPUs, both ways are the same."""
    return bool(line["surge"]["follow"] != line["surge"]["swap"])


def surge_line(line: Json) -> str:
    """Return both ways of one rollout in a line, the declared one first."""
    told = line["surge"]
    modes = sorted(("follow", "swap"), key=lambda mode: mode != told["declared"])
    first, second = (_way(mode, told[mode]) for mode in modes)
    return f"{line['address']}  {first}; instead {second}"


def _way(mode: str, way: Json) -> str:
    back = "all goes back by weight"
    if way["back_by_weight_pct"] < 100:
        rest = duration_words(way["back_rest_s"])
        back = f"at worst {way['back_by_weight_pct']:g} % goes back by weight, the rest in {rest}"
    fits = "" if way["fits"] else ", which does NOT fit"
    return f"{mode} takes {way['gpus_on_top']} GPU more{fits}: {back}"


def _basis(told: Json) -> str:
    if told["source"] == "vllm":
        return f"(logged by vLLM, {told['logged_at'][:10]})"
    parts = f"weights {_range(told['weights_gib'], 1)} and {_range(told['overhead_gib'], 1)} more"
    return f"(estimate: {parts} of {_range(told['budget_gib'], 1)} GiB)"


def _range(pair: list[float], digits: int) -> str:
    low, high = (f"{each:,.{digits}f}" for each in pair)
    return low if low == high else f"{low} to {high}"
