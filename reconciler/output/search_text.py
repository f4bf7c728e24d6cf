"""A search for capacity for a terminal: the rate, every probe, and what broke the next one. Pure."""

from __future__ import annotations

from reconciler.core.canonical import Json
from reconciler.output.plan_text import rate

_BOUNDS = {
    "max_rps": "no higher rate was tried: this is the profile's `max_rps`",
    "probes_max": "the search ended after the profile's `probes_max`; the rate may be higher",
}


def search_lines(answer: Json) -> list[str]:
    """Return the answer of `sluice gate load --search` as lines; probes stand in the order of trial."""
    head = f"{answer['address']}: {answer['release']} keeps its slo up to {rate(answer['rate_rps'])} requests/s"
    if not answer["rate_rps"]:
        lowest = rate(answer["broke"]["rate_rps"])
        head = f"{answer['address']}: {answer['release']} breaks its slo even at {lowest} requests/s, the lowest rate"
    lines = [f"{head} (profile {answer['profile']})", *map(_probe_line, answer["probes"])]
    if answer["broke"]:
        broke = answer["broke"]
        lines.append(f"broken at {rate(broke['rate_rps'])} requests/s: {'; '.join(broke['breaches'])}")
    if answer["bounded_by"] in _BOUNDS:
        lines.append(_BOUNDS[answer["bounded_by"]])
    return lines


def _probe_line(probe: Json) -> str:
    ttft = "-" if probe["ttft_p95_ms"] is None else f"{probe['ttft_p95_ms']:.0f} ms"
    failed = "-" if probe["error_rate"] is None else f"{probe['error_rate']:.1%}"
    word = "broken" if probe["breaches"] else "kept"
    return f"  {rate(probe['rate_rps']):>8} requests/s  {word:6}  ttft p95 {ttft:>8}  failed {failed}"
