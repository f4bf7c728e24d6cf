"""What no single value can say: pools, waves, teams, bounds and ports that must fit together. Pure.

Checks run over plain data, not over the typed spec, so that they speak even when the types are wrong elsewhere;
whatever has the wrong type here is skipped, because `environments.translate` reports it.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from environments.crosscheck_approvals import check_approvals
from environments.crosscheck_policies import check_policies
from environments.crosscheck_release import check_release, check_rollout, check_traffic_limits
from environments.errors import Problem, nearest
from environments.names import SHARED_FOLDERS
from environments.raw import Check, Json, Path, block, check_order, is_whole, regions_of, texts
from environments.yaml_tree import Lines, join_path


def check_references(
    data: Any, lines: Lines, policy_ids: Collection[str] | None = None, *, wrong: Collection[Path] = ()
) -> list[Problem]:
    """Return everything in the file that contradicts something else in it; `wrong` are paths of known problems."""
    check = Check(lines, wrong)
    root = block(data)
    _check_name(check, root.get("environment"))
    _check_waves(check, root)
    _check_regions(check, root)
    _check_infrastructure(check, block(root.get("infrastructure")), block(root.get("regions")))
    for name, endpoint in block(root.get("endpoints")).items():
        path: Path = ("endpoints", name)
        spec = block(endpoint)
        _check_placement(check, path, spec, root)
        check_release(check, (*path, "release"), block(spec.get("release")), root)
        check_rollout(check, (*path, "rollout"), block(spec.get("rollout")), regions_of(spec, root))
        check_traffic_limits(check, path, spec)
    check_approvals(check, block(root.get("approvals")))
    if policy_ids is not None:
        check_policies(check, root, policy_ids)
    return check.problems


def _check_name(check: Check, name: Any) -> None:
    if isinstance(name, str) and name in SHARED_FOLDERS:
        check.at(
            ("environment",),
            "SPEC-052",
            f'an environment cannot be called "{name}"',
            why=f"its state would lie in the folder {name}, which all environments share, and `sluice down` deletes it",
            do="give the environment another name",
        )


def _check_waves(check: Check, root: Json) -> None:
    regions, waves = block(root.get("regions")), root.get("waves")
    if not isinstance(waves, list):
        return
    seen: dict[str, int] = {}
    for number, wave in enumerate(waves):
        for index, region in enumerate(texts(wave)):
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
    for name, region in block(root.get("regions")).items():
        port = block(region).get("gateway_port")
        if isinstance(port, int) and not isinstance(port, bool):
            if port in ports:
                check.at(
                    ("regions", name, "gateway_port"),
                    "SPEC-028",
                    f"regions {ports[port]} and {name} both listen on port {port}",
                    do="give each local region a port of its own",
                )
            ports.setdefault(port, name)
        for pool_name, pool in block(block(region).get("gpu_pools")).items():
            _check_pool(check, ("regions", name, "gpu_pools", pool_name), block(pool))


def _check_infrastructure(check: Check, declared: Json, regions: Json) -> None:
    for key in ("vpc_cidrs", "zones", "gpu_quota"):
        for region in block(declared.get(key)):
            if region not in regions:
                what = f'infrastructure.{key} names the unknown region "{region}"'
                check.at(("infrastructure", key, region), "SPEC-022", what, do=nearest(region, regions))
    for key, low, high in (("system_nodes", "min", "max"), ("gateway", "proxies", "proxies_max")):
        sizes = block(declared.get(key))
        check_order(check, ("infrastructure", key, low), sizes.get(low), sizes.get(high), f"{key}.{high}")
    _check_image_cache(check, block(declared.get("image_cache")))


def _check_image_cache(check: Check, cache: Json) -> None:
    docker_hub, github = cache.get("docker_hub"), cache.get("github")
    if isinstance(docker_hub, str) and docker_hub == github:
        check.at(
            ("infrastructure", "image_cache", "github"),
            "SPEC-053",
            f'docker.io and ghcr.io would both be signed in to with the secret "{github}"',
            why="a token is good for one of them; ECR finds out when a node waits for its first image",
            do="name a secret for each",
        )


def _check_pool(check: Check, path: Path, pool: Json) -> None:
    nodes = block(pool.get("nodes"))
    check_order(check, (*path, "nodes", "min"), nodes.get("min"), nodes.get("max"), "nodes.max")
    check_order(check, (*path, "on_demand_floor"), pool.get("on_demand_floor"), nodes.get("max"), "nodes.max")
    _check_reservation(check, path, pool)


def _check_reservation(check: Check, path: Path, pool: Json) -> None:
    capacity, reservation = pool.get("capacity"), pool.get("capacity_reservation")
    reserved = capacity in ("reserved", "capacity_block")
    if reserved and not reservation:
        check.at(
            (*path, "capacity"),
            "SPEC-038",
            f"{join_path(path)} is reserved capacity without a reservation",
            do="add `capacity_reservation: cr-…`, or use on_demand",
        )
    if reservation and capacity is not None and not reserved:
        check.at(
            (*path, "capacity_reservation"),
            "SPEC-038",
            f"{join_path(path)} names a reservation but its capacity is {capacity}",
            do="use `capacity: reserved`, or remove the reservation",
        )
    if reserved and reservation and len(texts(pool.get("zones"))) != 1:
        check.at(
            (*path, "capacity"),
            "SPEC-050",
            f"{join_path(path)} is reserved and does not name its one zone",
            why="a reservation is for one zone; nodes that start in another one do not use it",
            do="add `zones: [ZONE-ID]`, the zone of the reservation",
        )


def _check_placement(check: Check, path: Path, spec: Json, root: Json) -> None:
    regions, teams = block(root.get("regions")), root.get("teams")
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
    for index, region in enumerate(texts(spec.get("regions"))):
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
    replicas = block(spec.get("replicas"))
    check_order(check, (*path, "replicas", "min"), replicas.get("min", 1), replicas.get("max", 1), "replicas.max")
    for region in regions_of(spec, root):
        _check_pool_choice(check, path, spec, region, block(regions.get(region)))


def _check_pool_choice(check: Check, path: Path, spec: Json, region: str, declared: Json) -> None:
    pools, pool, gpus = block(declared.get("gpu_pools")), spec.get("pool"), spec.get("gpus_per_replica", 1)
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
            per_node: Any = block(pools[pool]).get("gpus_per_node")
            if is_whole(gpus) and is_whole(per_node) and gpus > per_node > 0:
                check.at(
                    (*path, "gpus_per_replica") if "gpus_per_replica" in spec else path,
                    "SPEC-037",
                    f"a replica of {join_path(path)} needs {gpus} GPUs; a node of {region}/{pool} has {per_node}",
                    why="a replica runs on one node",
                    do="choose a larger instance, or fewer GPUs for each replica",
                )
    elif declared.get("platform") in ("kubernetes", "sagemaker") and pool is None and is_whole(gpus) and gpus > 0:
        check.at(
            path,
            "SPEC-036",
            f"{join_path(path)} needs GPUs in {region} and names no pool",
            do=f"add `pool:` ({nearest('', pools)}), or `gpus_per_replica: 0`",
        )
