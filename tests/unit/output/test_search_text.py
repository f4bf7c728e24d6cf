"""The answer of a search for capacity: the rate, every probe in its order, and why it went no higher."""

from __future__ import annotations

from typing import Any

from reconciler.output.search_text import search_lines


def probe(rate_rps: float, *breaches: str, ttft_p95_ms: float | None = 12.3) -> dict[str, Any]:
    return {"rate_rps": rate_rps, "ttft_p95_ms": ttft_p95_ms, "error_rate": 0.004, "breaches": list(breaches)}


def answer(*probes: dict[str, Any], rate_rps: float, broke: dict[str, Any] | None, bounded_by: str) -> list[str]:
    head = {"address": "prod/eu/chat", "release": "chat-1", "profile": "chat"}
    return search_lines({**head, "rate_rps": rate_rps, "probes": probes, "broke": broke, "bounded_by": bounded_by})


def test_a_rate_is_said_with_what_broke_the_next_one() -> None:
    broken = probe(28.284, "ttft_p95_ms 900, the SLO is 800", "error_rate 0.1, the SLO is 0.01", ttft_p95_ms=900.0)
    assert answer(probe(20.0), broken, probe(24.0), rate_rps=24.0, broke=broken, bounded_by="tolerance") == [
        "prod/eu/chat: chat-1 keeps its slo up to 24 requests/s (profile chat)",
        "        20 requests/s  kept    ttft p95    12 ms  failed 0.4%",
        "     28.28 requests/s  broken  ttft p95   900 ms  failed 0.4%",
        "        24 requests/s  kept    ttft p95    12 ms  failed 0.4%",
        "broken at 28.28 requests/s: ttft_p95_ms 900, the SLO is 800; error_rate 0.1, the SLO is 0.01",
    ]


def test_no_rate_at_all_is_said_in_the_first_line() -> None:
    broken = probe(2.0, "LOAD-022: every request failed", ttft_p95_ms=None)
    lines = answer(broken, rate_rps=0.0, broke=broken, bounded_by="min_rps")
    assert lines[0] == "prod/eu/chat: chat-1 breaks its slo even at 2 requests/s, the lowest rate (profile chat)"
    assert lines[1:] == [
        "         2 requests/s  broken  ttft p95        -  failed 0.4%",
        "broken at 2 requests/s: LOAD-022: every request failed",
    ]


def test_a_search_that_met_its_own_bound_says_so() -> None:
    for bound in ("max_rps", "probes_max"):
        assert bound in answer(probe(80.0), rate_rps=80.0, broke=None, bounded_by=bound)[-1]
