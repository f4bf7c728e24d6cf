"""Prometheus's own judgement of rules: whether it takes them, and which alerts fire when, on series of a test."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tests.builds.catalog import built
from tests.support.lifeline import missing


def program(name: str) -> Path:
    """Return a program of Prometheus or Alertmanager."""
    found = built() / "bin" / name
    if not found.exists():
        missing(f"{name} is not built", "run `python -m tests.builds.build prometheus`")
    return found


def refused(folder: Path, groups: Sequence[Mapping[str, Any]]) -> str:
    """Return what Prometheus says against groups of rules; empty where it takes them."""
    (folder / "rules.json").write_text(json.dumps({"groups": groups}))
    return _run(folder, "check", "rules", "rules.json")


def differs(
    folder: Path,
    groups: Sequence[Mapping[str, Any]],
    series: Mapping[str, str],
    expected: Sequence[tuple[int, str, set[str]]],
) -> str:
    """Return where the alerts that fire are not the expected ones; empty where they are.

    `series` hold a value a minute, in promtool's notation. Each expectation is a minute, which alerts are asked for (a
    regular expression), and exactly those of them that fire then.
    """
    (folder / "rules.json").write_text(json.dumps({"groups": groups}))
    asked = [
        {
            "eval_time": f"{minute}m",
            "expr": f'group by (alertname) (ALERTS{{alertstate="firing",alertname=~"{which}"}})',
            "exp_samples": [{"labels": f'{{alertname="{name}"}}', "value": 1} for name in sorted(names)],
        }
        for minute, which, names in expected
    ]
    inputs = [{"series": name, "values": values} for name, values in series.items()]
    case = {"interval": "1m", "input_series": inputs, "promql_expr_test": asked}
    test = {"rule_files": ["rules.json"], "evaluation_interval": "1m", "tests": [case]}
    (folder / "test.json").write_text(json.dumps(test))
    return _run(folder, "test", "rules", "test.json")


def _run(folder: Path, *arguments: str) -> str:
    done = subprocess.run([program("promtool"), *arguments], cwd=folder, capture_output=True, text=True, check=False)
    return "" if done.returncode == 0 else done.stdout + done.stderr or f"promtool ended with {done.returncode}"
