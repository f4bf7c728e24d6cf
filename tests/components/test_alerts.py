"""Every alert: it fires by its condition after its wait, alone, and clears; Prometheus itself runs the rules."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

from components.queries import Figures
from components.rules import Watched, endpoint_groups, platform_group
from environments.infrastructure import AlarmsSpec
from environments.names import CONTROLLER_TICK_METRIC, LEDGER_METRIC, ROLLOUT_AGE_METRIC, ROLLOUT_PAUSED_METRIC
from environments.spec import SloSpec
from tests.support import promtool

TABLE: dict[str, Any] = yaml.safe_load((Path(__file__).parent / "alerts.yaml").read_text())
CALM_M, LASTS_M, CLEARS_M, ALL = 90, 30, 15, ".+"
WORDS = {
    "SLOT": 'environment="prod",sluice_endpoint="chat",slot="a"',
    "ROUTE": 'envoy_cluster_name="httproute/support-prod/chat/rule/0"',
    "GPU": 'gpu="0",Hostname="n"',
    "ROLLOUT_AGE": ROLLOUT_AGE_METRIC,
    "ROLLOUT_PAUSED": ROLLOUT_PAUSED_METRIC,
    "LEDGER": LEDGER_METRIC,
    "TICK": CONTROLLER_TICK_METRIC,
}
UNITS_M = {"m": 1.0, "h": 60.0}


def watched(runtime: str = "vllm") -> Watched:
    slo = SloSpec(ttft_p95_ms=800, itl_p95_ms=60, error_rate=0.01)
    return Watched(Figures("prod", "support-prod", "chat", runtime), "support", slo, AlarmsSpec(), usd_per_gpu_hour=1.2)


def groups(runtime: str = "vllm") -> list[dict[str, Any]]:
    return [*endpoint_groups(watched(runtime)), platform_group("prod", AlarmsSpec())]


def alerts(runtime: str) -> dict[str, dict[str, Any]]:
    """Return the rules that alert, by name."""
    return {rule["alert"]: rule for found in groups(runtime) for rule in found["rules"] if "alert" in rule}


def series(of: Mapping[str, float | None], *, lasts: int, then: int) -> dict[str, str]:
    """Return every series of the table: calm, with the fault, and calm again."""
    assert of.keys() <= TABLE["series"].keys()
    found = {}
    for key, told in TABLE["series"].items():
        name, (kind, calm) = _named(told["name"]), next((k, v) for k, v in told.items() if k != "name")
        minutes = [*[calm] * CALM_M, *[of.get(key, calm)] * lasts, *[calm] * then]
        found[name] = " ".join(_values(minutes, kind))
    return found


def _named(name: str) -> str:
    head, brace, labels = name.partition("{")
    for word, text in WORDS.items():
        labels = ",".join(text if label == word else label for label in labels.removesuffix("}").split(","))
    return WORDS.get(head, head) + (f"{{{labels}}}" if brace else "")


def _values(minutes: list[float | None], kind: str) -> list[str]:
    """Return a series' values, one a minute, in promtool's notation."""
    found, shown = [], 0.0
    for minute, value in enumerate(minutes):
        match kind:
            case "gauge":
                shown = value or 0
            case "counter":
                shown += value or 0
            case "clock" if value:
                shown = value * minute
        found.append("_" if value is None else f"{shown:g}")
    return found


def wait_m(rule: Mapping[str, Any]) -> float:
    return float(rule["for"][:-1]) * UNITS_M[rule["for"][-1]]


@pytest.mark.parametrize("runtime", ["vllm", "triton"])
def test_every_alert_has_a_fault_that_fires_it(runtime: str) -> None:
    """Hold the table to the rules: a new alert, or another expression for another runtime, needs a row of its own."""
    proven = {(row["alert"], alerts(row.get("runtime", "vllm"))[row["alert"]]["expr"]) for row in TABLE["faults"]}
    assert {(name, rule["expr"]) for name, rule in alerts(runtime).items()} - proven == set()


@pytest.mark.parametrize("row", TABLE["faults"], ids=lambda row: f"{row['alert']}-{'-'.join(row['of'])}")
def test_it_fires_after_its_wait_and_clears(row: dict[str, Any], tmp_path: Path) -> None:
    name, lasts, clears = row["alert"], row.get("lasts", LASTS_M), row.get("clears", CLEARS_M)
    wait = wait_m(alerts(row.get("runtime", "vllm"))[name])
    too_soon: list[tuple[int, str, set[str]]] = [(int(CALM_M + wait - 1), name, set())] if wait >= 2 else []
    expected: list[tuple[int, str, set[str]]] = [
        (CALM_M - 1, ALL, set()),
        *too_soon,
        (CALM_M + lasts - 1, ALL, {name, *row.get("also", [])}),
        (CALM_M + lasts + clears, ALL, set()),
    ]
    given = series(row["of"], lasts=lasts, then=clears + 5)
    assert promtool.differs(tmp_path, groups(row.get("runtime", "vllm")), given, expected) == ""


@pytest.mark.parametrize("row", TABLE["quiet"], ids=lambda row: row["what"])
def test_what_is_no_fault_wakes_nobody(row: dict[str, Any], tmp_path: Path) -> None:
    lasts = row.get("lasts", LASTS_M)
    expected: list[tuple[int, str, set[str]]] = [(CALM_M + minute, ALL, set()) for minute in range(lasts + 14)]
    assert promtool.differs(tmp_path, groups(), series(row["of"], lasts=lasts, then=20), expected) == ""


def test_a_code_of_long_ago_wakes_nobody(tmp_path: Path) -> None:
    """Find the gauge at a hardware code from the first sample on: it keeps the last code for good."""
    given = series({}, lasts=10, then=0) | {_named(TABLE["series"]["xid"]["name"]): " ".join(["79"] * (CALM_M + 10))}
    assert promtool.differs(tmp_path, groups(), given, [(CALM_M, ALL, set())]) == ""


def test_missing_data_is_no_zero(tmp_path: Path) -> None:
    """Without traffic no rate says anything; without a controller's metrics, silence itself is the alarm."""
    given = {_named(TABLE["series"]["up"]["name"]): " ".join(["1"] * 60)}
    assert promtool.differs(tmp_path, groups(), given, [(59, ALL, {"ControllerSilent"})]) == ""


def test_a_wrong_expectation_is_told(tmp_path: Path) -> None:
    """Prove that the judge of these tests can say no."""
    given = series({}, lasts=1, then=0)
    assert "GpuHot" in promtool.differs(tmp_path, groups(), given, [(CALM_M, ALL, {"GpuHot"})])


@pytest.mark.parametrize("runtime", ["vllm", "triton"])
def test_every_alert_says_whose_it_is_how_bad_it_is_and_what_to_do(runtime: str) -> None:
    for rule in alerts(runtime).values():
        assert {"environment", "team", "severity"} <= set(rule["labels"]), rule
        assert rule["labels"]["severity"] in ("page", "ticket")
        assert rule["annotations"]["summary"]
        assert rule["annotations"]["do"]
