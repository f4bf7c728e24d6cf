"""SARIF: its structure as the standard wants it, each finding at its line, and nothing in it that is a secret."""

from __future__ import annotations

import json
import re
from pathlib import Path
from urllib.parse import unquote

from jsonschema import Draft202012Validator

from environments.load import load
from environments.spec import EnvironmentSpec
from environments.yaml_tree import Lines
from policies.catalog import CATALOG
from policies.plans import check_spec
from reconciler.core.model.finding import Finding
from reconciler.output.sarif import sarif_of
from tests.support.processes import ROOT

TEXT = {"type": "object", "properties": {"text": {"type": "string", "minLength": 1}}, "required": ["text"]}
URI = {"type": "string", "pattern": r"^[A-Za-z0-9\-._~:/?#\[\]@!$&'()*+,;=%]+$"}
LOCATION = {
    "type": "object",
    "additionalProperties": False,
    "required": ["physicalLocation"],
    "properties": {
        "physicalLocation": {
            "type": "object",
            "additionalProperties": False,
            "required": ["artifactLocation", "region"],
            "properties": {
                "artifactLocation": {"type": "object", "properties": {"uri": URI}, "additionalProperties": False},
                "region": {
                    "type": "object",
                    "additionalProperties": False,
                    "properties": {"startLine": {"type": "integer", "minimum": 1}},
                },
            },
        }
    },
}
RULE = {
    "type": "object",
    "additionalProperties": False,
    "required": ["id"],
    "properties": {"id": {"type": "string"}, "shortDescription": TEXT, "fullDescription": TEXT, "help": TEXT},
}
RESULT = {
    "type": "object",
    "additionalProperties": False,
    "required": ["message"],
    "properties": {
        "ruleId": {"type": "string"},
        "ruleIndex": {"type": "integer", "minimum": -1},
        "level": {"enum": ["none", "note", "warning", "error"]},
        "message": TEXT,
        "locations": {"type": "array", "items": LOCATION},
    },
}
DRIVER = {
    "type": "object",
    "additionalProperties": False,
    "required": ["name"],
    "properties": {
        "name": {"type": "string"},
        "informationUri": URI,
        "rules": {"type": "array", "uniqueItems": True, "items": RULE},
    },
}
RUN = {
    "type": "object",
    "additionalProperties": False,
    "required": ["tool"],
    "properties": {
        "tool": {"type": "object", "required": ["driver"], "properties": {"driver": DRIVER}},
        "automationDetails": {"type": "object", "properties": {"id": {"type": "string"}}},
        "results": {"type": "array", "items": RESULT},
    },
}
LOG = {
    "type": "object",
    "additionalProperties": False,
    "required": ["version", "runs"],
    "properties": {"$schema": URI, "version": {"const": "2.1.0"}, "runs": {"type": "array", "items": RUN}},
}
"""What the standard says of the objects that are written here: sections 3.13 to 3.52 of SARIF 2.1.0."""


def problems(log: object) -> list[str]:
    """Return what is wrong with a log."""
    return [error.message for error in Draft202012Validator(LOG).iter_errors(json.loads(json.dumps(log)))]


def test_every_finding_stands_at_its_line_with_its_rule() -> None:
    loaded = load(ROOT / "environments" / "prod.yaml", environ={"MLFLOW_TRACKING_URI": "http://x"}, unset="keep")
    text = loaded.path.read_text().splitlines()
    findings = [
        Finding("GPU-001", "deny", "prod/eu-central-1/l4", "too small"),
        Finding("BUILD-001", "deny", "prod/eu-central-1/chat", "no adapter"),
        Finding("POL-001", "info", "prod", "COST-002 is info instead of warn"),
        *check_spec(loaded.spec),
    ]
    log = sarif_of(findings, loaded.lines, loaded.spec)
    assert problems(log) == []
    [run] = log["runs"]
    rules = run["tool"]["driver"]["rules"]
    assert [r["id"] for r in rules] == sorted({f.policy for f in findings})
    assert all("help" in r for r in rules if r["id"] != "POL-001")
    for finding, result in zip(findings, run["results"], strict=True):
        place = result["locations"][0]["physicalLocation"]
        assert (result["ruleId"], rules[result["ruleIndex"]]["id"]) == (finding.policy, finding.policy)
        assert unquote(place["artifactLocation"]["uri"]) == "environments/prod.yaml"
        assert 1 <= place["region"]["startLine"] <= len(text)
    lines = [r["locations"][0]["physicalLocation"]["region"]["startLine"] for r in run["results"]]
    assert re.match(r"\s*nodes:", text[lines[0] - 1])
    assert re.match(r"\s*chat:", text[lines[1] - 1])


def test_what_the_check_is_for_is_refused() -> None:
    good = sarif_of([Finding("GPU-001", "deny", "a", "b")], Lines("e.yaml"), _spec())
    assert problems(good) == []
    wrong: list[dict[str, object]] = [{"version": "2.0.0"}, {"runs": [{}]}, {"extra": 1}]
    for change in wrong:
        assert problems(good | change)
    good["runs"][0]["results"][0]["level"] = "deny"
    assert problems(good)


def test_a_name_with_spaces_is_a_uri_and_secrets_are_hidden() -> None:
    finding = Finding("GPU-001", "deny", "prod/x/y", "arn:aws:iam::111122223333:role/x token=" + "gh" + "p_" + "a" * 20)
    log = sarif_of([finding], Lines("my files/ü.yaml"), _spec())
    assert problems(log) == []
    text = json.dumps(log)
    assert "my%20files/%C3%BC.yaml" in text
    assert "111122223333" not in text
    assert "a" * 20 not in text


def test_every_policy_can_be_a_rule() -> None:
    findings = [Finding(policy.id, "warn", "prod", "x") for policy in CATALOG]
    log = sarif_of(findings, Lines("e.yaml"), _spec())
    assert problems(log) == []
    assert len(log["runs"][0]["tool"]["driver"]["rules"]) == len(CATALOG)


def _spec() -> EnvironmentSpec:
    return load(Path(ROOT / "environments" / "prod.yaml"), environ={}, unset="keep").spec
