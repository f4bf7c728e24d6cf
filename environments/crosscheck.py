"""What no single value can say: pools, waves, teams, bounds and ports that must fit together. Pure.

Checks run over plain data, not over the typed spec, so that they speak even when the types are wrong elsewhere;
whatever has the wrong type here is skipped, because `environments.translate` reports it.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from environments.errors import Problem, nearest
from environments.yaml_tree import Lines, PathPart, join_path

Path = tuple[PathPart, ...]
Json = dict[str, Any]


class Check:
    """Collects problems by path; `at` is the one way to add one."""

    def __init__(self, lines: Lines) -> None:
        self._lines = lines
        self.problems: list[Problem] = []

    def at(self, path: Path, code: str, what: str, *, why: str = "", do: str = "") -> None:
        """Note a problem at a path of the file."""
        self.problems.append(Problem(self._lines.where(path), code, what, why, do))


def check_references(data: Any, lines: Lines, policy_ids: Collection[str] | None = None) -> list[Problem]:
    """Return everything in the file that contradicts something else in it."""
    check = Check(lines)
    root = _block(data)
    _check_waves(check, root)
    _check_regions(check, root)
    for name, endpoint in _block(root.get("endpoints")).items():
        path: Path = ("endpoints", name)
        spec = _block(endpoint)
        _check_placement(check, path, spec, root)
        _check_release(check, (*path, "release"), _block(spec.get("release")), root)
        _check_rollout(check, (*path, "rollout"), _block(spec.get("rollout")), _regions_of(spec, root))
    if policy_ids is not None:
        _check_policies(check, _block(root.get("policies")), policy_ids)
    return check.problems


def _check_waves(check: Check, root: Json) -> None:
    regions, waves = _block(root.get("regions")), root.get("waves")
    if not isinstance(waves, list):
        return
    seen: dict[str, int] = {}
    for number, wave in enumerate(waves):
        for index, region in enumerate(_texts(wave)):
            path: Path = ("waves", number, index)
            if region not in regions:
                check.at(
                    path,
                    "SPEC-022",
                    f'wave {number + 1} names the unknown region "{region}"',
                    do=nearest(region, regions),
                )
            elif region in seen:
                check.at(
                    path,
                    "SPEC-023",
                    f"region {region} is in wave {seen[region]} and in wave {number + 1}",
                    why="a region that moves twice would be promoted before its own bake",
                    do="keep one",
                )
            seen.setdefault(region, number + 1)
    for region in sorted(set(regions) - set(seen)):
        check.at(
            ("waves",),
            "SPEC-024",
            f"no wave holds region {region}",
            why="it would never get a new release",
            do=f"add [{region}] to waves",
        )


def _check_regions(check: Check, root: Json) -> None:
    ports: dict[int, str] = {}
    for name, region in _block(root.get("regions")).items():
        port = _block(region).get("gateway_port")
        if isinstance(port, int) and not isinstance(port, bool):
            if port in ports:
                check.at(
                    ("regions", name, "gateway_port"),
                    "SPEC-028",
                    f"regions {ports[port]} and {name} both listen on port {port}",
                    do="give each local region a port of its own",
                )
            ports.setdefault(port, name)
        for pool_name, pool in _block(_block(region).get("gpu_pools")).items():
            _check_pool(check, ("regions", name, "gpu_pools", pool_name), _block(pool))


def _check_pool(check: Check, path: Path, pool: Json) -> None:
    nodes = _block(pool.get("nodes"))
    _check_order(check, (*path, "nodes", "min"), nodes.get("min"), nodes.get("max"), "nodes.max")
    _check_order(check, (*path, "on_demand_floor"), pool.get("on_demand_floor"), nodes.get("max"), "nodes.max")
    reserved, reservation = pool.get("capacity") == "reserved", pool.get("capacity_reservation")
    if reserved and not reservation:
        check.at(
            (*path, "capacity"),
            "SPEC-038",
            f"{join_path(path)} is reserved capacity without a reservation",
            do="add `capacity_reservation: cr-…`, or use on_demand",
        )
    if reservation and pool.get("capacity") is not None and not reserved:
        check.at(
            (*path, "capacity_reservation"),
            "SPEC-038",
            f"{join_path(path)} names a reservation but its capacity is {pool['capacity']}",
            do="use `capacity: reserved`, or remove the reservation",
        )


def _check_placement(check: Check, path: Path, spec: Json, root: Json) -> None:
    regions, teams = _block(root.get("regions")), root.get("teams")
    team = spec.get("team")
    if isinstance(team, str) and isinstance(teams, dict) and teams and team not in teams:
        check.at(
            (*path, "team"),
            "SPEC-025",
            f'unknown team "{team}"',
            why="the block `teams` lists all of them",
            do=nearest(team, teams),
        )
    seen: set[str] = set()
    for index, region in enumerate(_texts(spec.get("regions"))):
        if region not in regions:
            check.at(
                (*path, "regions", index),
                "SPEC-031",
                f'{join_path(path)} names the unknown region "{region}"',
                do=nearest(region, regions),
            )
        elif region in seen:
            check.at(
                (*path, "regions", index), "SPEC-031", f"{join_path(path)} names region {region} twice", do="keep one"
            )
        seen.add(region)
    replicas = _block(spec.get("replicas"))
    _check_order(check, (*path, "replicas", "min"), replicas.get("min", 1), replicas.get("max", 1), "replicas.max")
    for region in _regions_of(spec, root):
        _check_pool_choice(check, path, spec, region, _block(regions.get(region)))


def _check_pool_choice(check: Check, path: Path, spec: Json, region: str, declared: Json) -> None:
    pools, pool, gpus = _block(declared.get("gpu_pools")), spec.get("pool"), spec.get("gpus_per_replica", 1)
    if isinstance(pool, str):
        if pool not in pools:
            check.at(
                (*path, "pool"),
                "SPEC-021",
                f'{join_path(path)} needs the pool "{pool}", which region {region} does not have',
                why="the endpoint would have nowhere to run there",
                do=f"add it to regions.{region}.gpu_pools, or choose another ({nearest(pool, pools)})",
            )
        else:
            per_node = _block(pools[pool]).get("gpus_per_node")
            if _is_whole(gpus) and _is_whole(per_node) and gpus > per_node:
                check.at(
                    (*path, "gpus_per_replica") if "gpus_per_replica" in spec else path,
                    "SPEC-037",
                    f"a replica of {join_path(path)} needs {gpus} GPUs; a node of {region}/{pool} has {per_node}",
                    why="a replica runs on one node",
                    do="choose a larger instance, or fewer GPUs for each replica",
                )
    elif declared.get("platform") in ("kubernetes", "sagemaker") and pool is None and _is_whole(gpus) and gpus > 0:
        check.at(
            path,
            "SPEC-036",
            f"{join_path(path)} needs GPUs in {region} and names no pool",
            do=f"add `pool:` ({nearest('', pools)}), or `gpus_per_replica: 0`",
        )


def _check_release(check: Check, path: Path, release: Json, root: Json) -> None:
    if _block(root.get("registry")).get("mlflow") is not None:
        return
    refs: list[tuple[Path, Any]] = [((*path, "model"), release.get("model"))]
    for kind in ("prompts", "adapters"):
        refs += [((*path, kind, name), ref) for name, ref in _block(release.get(kind)).items()]
    for kind in ("index", "guardrails"):
        refs.append(((*path, kind, "ref"), _block(release.get(kind)).get("ref")))
    for where, ref in refs:
        if isinstance(ref, str) and ref.startswith("mlflow:"):
            check.at(
                where,
                "SPEC-034",
                f"{join_path(where)} is {ref}, and no MLflow server is named",
                do='add `registry: {mlflow: "${env:MLFLOW_TRACKING_URI}"}`',
            )


def _check_rollout(check: Check, path: Path, rollout: Json, regions: dict[str, Any]) -> None:
    steps = rollout.get("steps_pct")
    if isinstance(steps, list):
        for index in range(1, len(steps)):
            if _is_number(steps[index - 1]) and _is_number(steps[index]) and steps[index] <= steps[index - 1]:
                check.at(
                    (*path, "steps_pct", index),
                    "SPEC-026",
                    f"{join_path(path)}.steps_pct goes from {steps[index - 1]} to {steps[index]}",
                    why="each step gives the challenger more traffic than the last",
                    do="list rising percentages",
                )
    _check_order(
        check, (*path, "step_min_s"), rollout.get("step_min_s", 60), rollout.get("step_max_s", 1800), "step_max_s"
    )
    _check_protect(check, (*path, "judge", "protect"), _block(rollout.get("judge")).get("protect"))
    names: dict[str, int] = {}
    for index, limit in enumerate(_list(rollout.get("limits"))):
        _check_limit(check, (*path, "limits", index), _block(limit), regions, names)


def _check_protect(check: Check, path: Path, rows: Any) -> None:
    seen: dict[tuple[Any, Any], int] = {}
    for index, row in enumerate(_list(rows)):
        key = (_block(row).get("metric"), _block(row).get("share"))
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
    _check_order(check, (*path, "min"), limit.get("min"), limit.get("max"), "max")
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


def _check_policies(check: Check, overrides: Json, known: Collection[str]) -> None:
    for policy in overrides:
        if policy not in known:
            check.at(
                ("policies", policy),
                "SPEC-033",
                f'unknown policy "{policy}"',
                why="an override of nothing would look like a rule",
                do=nearest(policy, known),
            )


def _check_order(check: Check, path: Path, low: Any, high: Any, high_name: str) -> None:
    if _is_number(low) and _is_number(high) and low > high:
        check.at(
            path,
            "SPEC-027",
            f"{join_path(path)} is {low}, more than {high_name}, which is {high}",
            do="swap or correct them",
        )


def _regions_of(spec: Json, root: Json) -> dict[str, Any]:
    regions = _block(root.get("regions"))
    chosen = spec.get("regions")
    names: Collection[str] = _texts(chosen) if isinstance(chosen, list) else regions
    return {name: regions[name] for name in names if name in regions}


def _block(value: Any) -> Json:
    return value if isinstance(value, dict) else {}


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def _texts(value: Any) -> list[str]:
    return [item for item in value if isinstance(item, str)] if isinstance(value, list) else []


def _is_whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
