"""Findings as SARIF 2.1.0, which code review tools show beside the line. Pure.

Source: OASIS, Static Analysis Results Interchange Format (SARIF) Version 2.1.0.
"""

from __future__ import annotations

from collections.abc import Sequence

from environments.spec import EnvironmentSpec
from environments.yaml_tree import Lines
from policies.catalog import policies_of
from policies.places import path_of
from reconciler.core.canonical import Json
from reconciler.core.model.finding import Finding

_LEVELS = {"deny": "error", "warn": "warning", "info": "note"}


def sarif_of(findings: Sequence[Finding], lines: Lines, spec: EnvironmentSpec) -> Json:
    """Return one run with every finding, placed at the endpoint's or region's line of the environment file."""
    used = {f.policy for f in findings}
    rules = [
        {
            "id": p.id,
            "shortDescription": {"text": p.title},
            "fullDescription": {"text": p.why},
            "help": {"text": p.fix},
        }
        for p in sorted(policies_of(spec), key=lambda p: p.id)
        if p.id in used
    ]
    return {
        "version": "2.1.0",
        "$schema": "https://json.schemastore.org/sarif-2.1.0.json",
        "runs": [
            {
                "tool": {"driver": {"name": "sluice", "informationUri": "https://sluice.dev", "rules": rules}},
                "results": [_result(f, lines, spec) for f in findings],
            }
        ],
    }


def _result(finding: Finding, lines: Lines, spec: EnvironmentSpec) -> Json:
    file, _, line = lines.where(path_of(finding, spec)).rpartition(":")
    place = {"artifactLocation": {"uri": file}, "region": {"startLine": int(line) if line.isdigit() else 1}}
    return {
        "ruleId": finding.policy,
        "level": _LEVELS[finding.level],
        "message": {"text": f"{finding.address}: {finding.message}"},
        "locations": [{"physicalLocation": place}],
    }
