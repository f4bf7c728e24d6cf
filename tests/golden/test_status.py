"""How a status reads: on a narrow terminal, and piped."""

from __future__ import annotations

import io
from typing import Any

import pytest
from rich.console import Console

from reconciler.cli import status
from reconciler.output.status_text import print_status

URL = "http://127.0.0.1:18080/chat/v1"
RELEASE, NEW = "chat-0123456789", "chat-abcdef0123"
REASON = "the load gate is undecided: e2e_p50 is 120 ms against 100 ms: +20.0% (+2.0% to +40.0%), the limit is +10%"


def endpoint(**changes: Any) -> dict[str, Any]:
    slot = {"release": RELEASE, "weight_pct": 100.0, "ready": True, "warm": True, "problem": None}
    slot |= {"replicas": {"wanted": 1, "ready": 1}}
    base = {
        "address": "local/local/chat",
        "url": URL,
        "serving": RELEASE,
        "slots": {"a": slot, "b": {**slot, "release": NEW, "weight_pct": 0.0}},
        "prompts": {"system": {"ref": "file:prompt.txt", "weight_pct": 100.0}},
        "gateway_problem": None,
        "rollout": None,
    }
    return base | changes


def rollout(**changes: Any) -> dict[str, Any]:
    base = {
        "id": "chat-20261124T120000-ab12",
        "phase": "paused",
        "weight_pct": 0.0,
        "owner": None,
        "reason": REASON,
        "reports": ["/work/reports/x.html"],
    }
    return base | changes


def lines(found: dict[str, Any], width: int) -> list[str]:
    screen = io.StringIO()
    print_status({"environment": "local", **found}, Console(file=screen, width=width, color_system=None))
    return [line.rstrip() for line in screen.getvalue().splitlines()]


def test_a_pause_at_60_columns_names_what_to_do() -> None:
    shown = lines({"endpoints": [endpoint(rollout=rollout())]}, 60)
    assert shown == [
        "local",
        "  local/local/chat  serves chat-0123456789",
        f"    {URL}",
        "    slot a    100 %  chat-0123456789  warm",
        "    slot b      0 %  chat-abcdef0123  warm",
        "    prompt system  file:prompt.txt",
        "    rollout chat-20261124T120000-ab12",
        "      paused at 0 %, by nobody at the moment",
        "      the load gate is undecided: e2e_p50 is 120 ms against",
        "      100 ms: +20.0% (+2.0% to +40.0%), the limit is +10%",
        "      report: /work/reports/x.html",
        "      go on:   sluice resume local --endpoint chat --reason",
        "      WHY",
        "      go back: sluice abort local --endpoint chat --reason",
        "      WHY",
        "      past gates and judge: sluice promote local --endpoint",
        "      chat --reason WHY",
    ]


def test_a_rollout_that_somebody_drives_names_them() -> None:
    driven = rollout(phase="shifting", weight_pct=10.0, owner="root@vm:29657:1795", reason="", reports=[])
    shown = lines({"endpoints": [endpoint(rollout=driven)]}, 100)
    assert shown[-1] == "      shifting at 10 %, by root on vm"


def test_a_rollout_that_nobody_drives_says_how_to_go_on() -> None:
    left = rollout(phase="shifting", reason="", reports=[])
    shown = lines({"endpoints": [endpoint(rollout=left)]}, 100)
    assert "      go on:   sluice apply local --yes" in shown


def test_prompts_of_two_releases_have_a_share_and_one_prompt_has_none() -> None:
    split = {"system": {"ref": "file:a.txt", "weight_pct": 90.0}}
    assert "    prompt system  90 % file:a.txt" in lines({"endpoints": [endpoint(prompts=split)]}, 100)


def test_orphans_are_named_with_the_command_that_ends_them() -> None:
    shown = " ".join(" ".join(lines({"endpoints": [], "orphans": 7}, 60)).split())
    assert "orphans of this environment are serving: 7 supervisors" in shown
    assert shown.endswith("sluice down local")


@pytest.mark.parametrize("width", [40, 60, 160])
def test_nothing_is_cut(width: int) -> None:
    broken = endpoint(serving=None, gateway_problem="the gateway does not answer " * 5, rollout=rollout())
    shown = lines({"endpoints": [broken], "gaps": ["region us: this build has no adapter " * 4]}, width)
    assert max(map(len, shown)) <= width
    assert "".join(shown).count("…") == 0


def test_a_watch_that_is_piped_prints_what_changed_and_only_then(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    before, after = ({"environment": "local", "endpoints": [endpoint(serving=name)]} for name in (RELEASE, NEW))
    looks = iter([[before], [before], [after], [after], [after]])

    def look() -> list[dict[str, Any]]:
        found = next(looks, None)
        if found is None:
            raise KeyboardInterrupt
        return found

    monkeypatch.setattr(status, "_WATCH_S", 0.0)
    with pytest.raises(KeyboardInterrupt):
        status._watch(look, as_json=False)
    shown = capsys.readouterr().out
    assert [line.split()[-1] for line in shown.splitlines() if "serves" in line] == [RELEASE, NEW]
