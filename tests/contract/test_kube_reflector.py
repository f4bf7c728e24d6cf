"""A view agrees with the real API server again after everything that can end a watch."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from environments.errors import SluiceError
from reconciler.kubernetes.kinds import CONFIG_MAP, HTTP_ROUTE, Kind
from reconciler.kubernetes.ports import View
from tests.contract.kube_plane import FAST, api_plane, client_of, config_map
from tests.support.kubernetes.between import between, restart_api_server
from tests.support.kubernetes.control_plane import ControlPlane

__all__ = ["api_plane"]
pytestmark = [pytest.mark.engine, pytest.mark.timeout(600), pytest.mark.xdist_group("kube-api")]
SUITE = "suite=kube"


async def until(view: View, holds: Callable[[], bool], within_s: float = 60.0) -> None:
    """Wait until a view shows something; where it does not, the assert shows what it has."""
    async with asyncio.timeout(within_s):
        while not holds():
            await view.changed(view.changes, 0.2)


def names(view: View) -> set[str]:
    """Return the names of what a view holds."""
    return {name for _, name in view.items}


def data(view: View, name: str) -> object:
    """Return the data of a ConfigMap in a view, None where it is absent."""
    return view.items.get(("default", name), {}).get("data")


async def test_a_view_has_what_there_is_and_follows(api_plane: ControlPlane, tmp_path: Path) -> None:
    api_plane.api.apply(config_map("first", a="1"))
    async with client_of(api_plane, tmp_path) as client:
        view = client.view(CONFIG_MAP, "default", labels=SUITE)
        assert view.age_s == float("inf")
        await view.synced(30.0)
        assert names(view) == {"first"}
        before, seen = view.items, view.changes

        api_plane.api.apply(config_map("second"))
        assert await view.changed(seen, 30.0) > seen
        assert names(view) == {"first", "second"}
        api_plane.api.apply(config_map("first", a="2"))
        await until(view, lambda: data(view, "first") == {"a": "2"})
        api_plane.api.delete("v1", "ConfigMap", "second", "default")
        await until(view, lambda: names(view) == {"first"})

        assert before["default", "first"]["data"] == {"a": "1"}
        assert view.fresh(60.0) == view.items
        assert client.view(CONFIG_MAP, "default", labels=SUITE) is view


async def test_what_was_deleted_while_the_watch_was_away_goes(api_plane: ControlPlane, tmp_path: Path) -> None:
    for name in ("stays", "goes"):
        api_plane.api.apply(config_map(name))
    async with between(api_plane) as proxy, client_of(api_plane, tmp_path, port=proxy.port) as client:
        view = client.view(CONFIG_MAP, "default", labels=SUITE)
        await view.synced(30.0)
        proxy.cut(stay_away=True)
        api_plane.api.delete("v1", "ConfigMap", "goes", "default")
        api_plane.api.apply(config_map("came"))
        assert "goes" in names(view)
        proxy.resume()
        await until(view, lambda: {"came", "stays"} <= names(view) and "goes" not in names(view))


async def test_an_api_server_that_is_restarted_and_has_forgotten_the_version(
    api_plane: ControlPlane, tmp_path: Path
) -> None:
    """A new process knows no version from before it: the watch is refused with 410, and only a list shows the gap."""
    for name in ("stays", "goes"):
        api_plane.api.apply(config_map(name))
    async with between(api_plane) as proxy, client_of(api_plane, tmp_path, port=proxy.port) as client:
        view = client.view(CONFIG_MAP, "default", labels=SUITE)
        await view.synced(30.0)
        proxy.cut(stay_away=True)
        api_plane.api.delete("v1", "ConfigMap", "goes", "default")
        restart_api_server(api_plane)
        proxy.resume()
        await until(view, lambda: "goes" not in names(view))
        api_plane.api.apply(config_map("after"))
        await until(view, lambda: "after" in names(view))


async def test_a_stream_that_is_cut_goes_on(api_plane: ControlPlane, tmp_path: Path) -> None:
    async with between(api_plane) as proxy, client_of(api_plane, tmp_path, port=proxy.port) as client:
        view = client.view(CONFIG_MAP, "default", labels=SUITE)
        await view.synced(30.0)
        for turn in ("1", "2", "3"):
            proxy.cut()
            api_plane.api.apply(config_map("turning", turn=turn))
            await until(view, lambda: data(view, "turning") == {"turn": turn})  # noqa: B023 (awaited in this turn)


async def test_a_stream_that_hangs_is_noticed_and_left(api_plane: ControlPlane, tmp_path: Path) -> None:
    pace = replace(FAST, idle_s=1.0)
    async with between(api_plane) as proxy, client_of(api_plane, tmp_path, port=proxy.port, pace=pace) as client:
        view = client.view(CONFIG_MAP, "default", labels=SUITE)
        await view.synced(30.0)
        proxy.hang()
        proxy.accepted = 0
        api_plane.api.apply(config_map("unheard"))
        await until(view, lambda: proxy.accepted > 0)
        await until(view, lambda: view.age_s > 2.0)
        assert "unheard" not in names(view)
        with pytest.raises(SluiceError) as old:
            view.fresh(1.0)
        assert old.value.code in ("KUBE-008", "KUBE-013")
        assert "eu-west-1 (context test): ConfigMap default" in str(old.value)
        proxy.resume()
        await until(view, lambda: "unheard" in names(view))


async def test_a_watch_ends_when_it_asked_to_and_goes_on(api_plane: ControlPlane, tmp_path: Path) -> None:
    pace = replace(FAST, watch_s=1.0)
    async with between(api_plane) as proxy, client_of(api_plane, tmp_path, port=proxy.port, pace=pace) as client:
        view = client.view(CONFIG_MAP, "default", labels=SUITE)
        await view.synced(30.0)
        await asyncio.sleep(5.0)
        api_plane.api.apply(config_map("later"))
        await until(view, lambda: "later" in names(view))
        view.fresh(30.0)


@pytest.mark.parametrize("kind", [HTTP_ROUTE, Kind("example.com/v1", "Thing", "things")])
async def test_a_kind_that_the_cluster_does_not_know(api_plane: ControlPlane, tmp_path: Path, kind: Kind) -> None:
    async with client_of(api_plane, tmp_path) as client:
        with pytest.raises(SluiceError) as unknown:
            await client.view(kind, "default").synced(30.0)
    assert unknown.value.code == "KUBE-004"
    assert f"{kind.plural}.{kind.group}" in str(unknown.value)


async def test_a_server_without_streamed_lists(api_plane: ControlPlane, tmp_path: Path) -> None:
    """The last test here, because the API server keeps the gate off."""
    restart_api_server(api_plane, "--feature-gates=WatchList=false")
    for number in range(5):
        api_plane.api.apply(config_map(f"paged-{number}"))
    async with between(api_plane) as proxy:
        pace = replace(FAST, page=2)
        async with client_of(api_plane, tmp_path, port=proxy.port, pace=pace) as client:
            view = client.view(CONFIG_MAP, "default", labels=SUITE)
            await view.synced(30.0)
            assert {f"paged-{number}" for number in range(5)} <= names(view)
            assert view._streams_lists is False
            proxy.cut(stay_away=True)
            api_plane.api.delete("v1", "ConfigMap", "paged-3", "default")
            proxy.resume()
            await until(view, lambda: "paged-3" not in names(view))
