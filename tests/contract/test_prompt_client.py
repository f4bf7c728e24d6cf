"""The example application asks with the release and the prompt that its user has been given."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from reconciler.pointers.flagd import FlagdPointers
from reconciler.ports import DrawnRelease, ReleaseSplit
from tests.support.servers.http_stub import Answer, Asked, http_stub

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize(("share", "release", "prompt"), [(0.0, "chat-0", "Be brief."), (100.0, "chat-1", "Be kind.")])
async def test_the_example_asks_with_the_users_release(share: float, release: str, prompt: str, tmp_path: Path) -> None:
    drawn = (
        DrawnRelease("chat-1", share, {"system": "Be kind."}),
        DrawnRelease("chat-0", 100 - share, {"system": "Be brief."}),
    )
    await FlagdPointers(tmp_path).publish("chat", ReleaseSplit("chat", drawn, "r1"), fence=1)
    asked: list[Asked] = []

    def answer(request: Asked) -> Answer:
        asked.append(request)
        return 200, {"choices": [{"message": {"content": "hello ann"}}]}

    with http_stub(answer) as gateway:
        said = _run_example("ann", "Who am I?", "--flags", str(tmp_path / "flags.json"), "--gateway", gateway)
    assert said.strip() == "hello ann"
    assert asked[0].path == "/chat/v1/chat/completions"
    assert asked[0].headers["x-sluice-release"] == release
    assert json.loads(asked[0].body) == {
        "model": "chat",
        "messages": [{"role": "system", "content": prompt}, {"role": "user", "content": "Who am I?"}],
    }


def _run_example(*arguments: str) -> str:
    command = [sys.executable, str(ROOT / "examples" / "prompt_client.py"), *arguments]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True, timeout=60).stdout
