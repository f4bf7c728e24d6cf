"""Two regions side by side: waves in order, and a failure in the second rolls the first back too."""

from __future__ import annotations

from pathlib import Path

import httpx
import pytest

from tests.support.cli import Cli, project
from tests.support.traffic import Traffic

pytestmark = pytest.mark.timeout(900)

REGIONS = ("north", "south")


def test_a_failure_in_the_second_wave_rolls_back_the_first() -> None:
    with project(REGIONS) as cli:
        cli.declare("file:models/v1")
        cli.run("apply", cli.name, "--yes", code=0)
        champion, begun = cli.serving("north"), len(cli.entries())
        cli.declare(cli.model("v2"))
        with Traffic(cli.ports["north"], per_second=60) as north, Traffic(cli.ports["south"], per_second=60) as south:
            applying = cli.begin("apply", cli.name, "--yes", "--json")
            cli.until_told("weigh.after", begun, where="e2e/south/chat")
            spoil(cli)
            outcome = applying.wait().expect(4).json()["outcomes"][0]
            assert (outcome["phase"], "error_rate" in outcome["reason"]) == ("rolled_back", True), outcome
            assert [cli.serving(region) for region in REGIONS] == [champion, champion]
        assert (north.failed(), south.failed(without=outcome["release"])) == (0, 0), [*north.failures, *south.failures]
        assert north.ok(outcome["release"]) > 0, "it had been promoted in the first wave"
        in_order(cli, begun)
        cli.verified()


def spoil(cli: Cli) -> None:
    """Make the challenger in the second region fail half of its requests, from now on."""
    command = Path(f"/proc/{cli.server('b', 'south').pid}/cmdline").read_text().split("\0")
    port = command[command.index("--port") + 1]
    httpx.post(f"http://127.0.0.1:{port}/control", json={"error_rate": 0.5}).raise_for_status()


def in_order(cli: Cli, begun: int) -> None:
    """Check by the ledger that the second region did not start before the first had everything."""
    told = [(e.kind, e.address.split("/")[1]) for e in cli.entries() if e.seq > begun]
    assert told.index(("enter:promoted", "north")) < told.index(("enter:preparing", "south"))
    assert told.index(("enter:rolling_back", "south")) < told.index(("enter:rolling_back", "north"))
    assert ("enter:rolled_back", "north") in told
