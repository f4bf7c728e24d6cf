"""Whether the parts of one endpoint's release and rollout fit together. Pure; `environments.crosscheck` calls it."""

from __future__ import annotations

from typing import Any, get_args

from environments.errors import nearest
from environments.names import RELEASE_FLAG
from environments.raw import Check, Json, Path, block, check_order, is_number, items
from environments.spec import TrafficQuery
from environments.yaml_tree import join_path


def check_release(check: Check, path: Path, release: Json, root: Json) -> None:
    """Note a prompt whose flag would be another's, and references to a registry that the file does not name."""
    if RELEASE_FLAG in block(release.get("prompts")):
        check.at(
            (*path, "prompts", RELEASE_FLAG),
            "SPEC-051",
            f'a prompt cannot be called "{RELEASE_FLAG}"',
            why=f"the flag ENDPOINT.{RELEASE_FLAG} draws the release that a user is given",
            do="give the prompt another name",
        )
    if block(root.get("registry")).get("mlflow") is not None:
        return
    refs: list[tuple[Path, Any]] = [((*path, "model"), release.get("model"))]
    for kind in ("prompts", "adapters"):
        refs += [((*path, kind, name), ref) for name, ref in block(release.get(kind)).items()]
    for kind in ("index", "guardrails"):
        refs.append(((*path, kind, "ref"), block(release.get(kind)).get("ref")))
    for where, ref in refs:
        if isinstance(ref, str) and ref.startswith("mlflow:"):
            check.at(
                where,
                "SPEC-034",
                f"{join_path(where)} is {ref}, and no MLflow server is named",
                do='add `registry: {mlflow: "${env:MLFLOW_TRACKING_URI}"}`',
            )


def check_rollout(check: Check, path: Path, rollout: Json, regions: dict[str, Any]) -> None:
    """Note steps, bounds, protected rows and limits that contradict each other."""
    steps = rollout.get("steps_pct")
    if isinstance(steps, list):
        for index in range(1, len(steps)):
            if is_number(steps[index - 1]) and is_number(steps[index]) and steps[index] <= steps[index - 1]:
                check.at(
                    (*path, "steps_pct", index),
                    "SPEC-026",
                    f"{join_path(path)}.steps_pct goes from {steps[index - 1]} to {steps[index]}",
                    why="each step gives the challenger more traffic than the last",
                    do="list rising percentages",
                )
    check_order(
        check, (*path, "step_min_s"), rollout.get("step_min_s", 60), rollout.get("step_max_s", 1800), "step_max_s"
    )
    _check_protect(check, (*path, "judge", "protect"), block(rollout.get("judge")).get("protect"))
    names: dict[str, int] = {}
    for index, limit in enumerate(items(rollout.get("limits"))):
        _check_limit(check, (*path, "limits", index), block(limit), regions, names)


def check_traffic_limits(check: Check, path: Path, endpoint: Json) -> None:
    """Note limits with `source: traffic` that ask for what the traffic cannot tell."""
    known = get_args(TrafficQuery)
    for index, limit in enumerate(items(block(endpoint.get("rollout")).get("limits"))):
        query, name = block(limit).get("query"), block(limit).get("name")
        if block(limit).get("source") != "traffic" or not isinstance(query, str):
            continue
        where = (*path, "rollout", "limits", index, "query")
        if query not in known:
            check.at(
                where,
                "SPEC-044",
                f'limit {name} asks the traffic for "{query}", which it does not tell',
                why="with `source: traffic` a query is one of a few names",
                do=f"correct it, or choose another source ({nearest(query, known)})",
            )
        elif query == "cost_usd" and endpoint.get("token_prices") is None:
            check.at(
                where,
                "SPEC-045",
                f"limit {name} asks what a request costs, and {join_path(path)} declares no token_prices",
                why="a cost is tokens times prices, and no price can be assumed",
                do=f"add {join_path(path)}.token_prices: {{input_usd_per_million: …, output_usd_per_million: …}}",
            )


def _check_protect(check: Check, path: Path, rows: Any) -> None:
    seen: dict[tuple[Any, Any], int] = {}
    for index, row in enumerate(items(rows)):
        key = (block(row).get("metric"), block(row).get("share"))
        if key[0] == "error_rate" and key[1] is not None:
            check.at(
                (*path, index),
                "SPEC-030",
                "`share` has no meaning for error_rate",
                why="it is the share of requests whose latency grows",
                do="remove `share`, or protect ttft or itl",
            )
        if not all(isinstance(part, str | int | float | None) for part in key):
            continue
        if key in seen and key[0] is not None:
            check.at(
                (*path, index),
                "SPEC-030",
                f"{key[0]} is protected twice",
                why=f"row {seen[key] + 1} protects it already; the looser of the two would never speak",
                do="keep one row",
            )
        seen.setdefault(key, index)


def _check_limit(check: Check, path: Path, limit: Json, regions: dict[str, Any], names: dict[str, int]) -> None:
    name = limit.get("name")
    if isinstance(name, str):
        if name in names:
            check.at((*path, "name"), "SPEC-039", f'two limits are called "{name}"', do="rename one")
        names.setdefault(name, 1)
    if limit.get("min") is None and limit.get("max") is None:
        check.at(
            path,
            "SPEC-029",
            f"limit {name or join_path(path)} has neither min nor max",
            why="it could never fail",
            do="add one of them",
        )
    check_order(check, (*path, "min"), limit.get("min"), limit.get("max"), "max")
    if limit.get("source") == "prometheus":
        for region, declared in regions.items():
            if isinstance(declared, dict) and not declared.get("prometheus"):
                check.at(
                    (*path, "source"),
                    "SPEC-035",
                    f"limit {name} reads Prometheus, and region {region} names none",
                    why="without data the verdict would stay INCONCLUSIVE for good",
                    do=f"add regions.{region}.prometheus",
                )
