"""The commands of a page of `docs/`: run by bash as they stand, with programs that only write down what they are told.

So variables, quotes and the order of lines are tried for real; what each program was told is judged by `commands`.
"""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from tests.builds.catalog import ROOT

_BLOCK = re.compile(r"^```sh\n(.*?)^```$", re.DOTALL | re.MULTILINE)
_FENCED = re.compile(r"^```.*?^```$", re.DOTALL | re.MULTILINE)
_SPAN = re.compile(r"`([^`]+)`")
_PROGRAMS = ("git", "python3.11", "aws", "pulumi", "docker", "kubectl", "helm", "curl")
_OURS = ("sluice", "python", "pip")
# Writes its own name, folder and arguments down, and prints what is canned for it.
_STUB = """#!/usr/bin/env python3
import json, os, sys
told = [os.path.basename(sys.argv[0]), *sys.argv[1:]]
with open(os.environ["TOLD"], "a") as log:
    log.write(json.dumps({"folder": os.getcwd(), "told": told}) + "\\n")
for words, text in json.loads(os.environ["CANNED"]).items():
    if " ".join(told).startswith(words):
        print(text)
"""


@dataclass(frozen=True)
class Told:
    """One call of a program: where, and with which words."""

    folder: str
    words: tuple[str, ...]

    def __str__(self) -> str:
        return " ".join(self.words)


def blocks(page: Path) -> list[str]:
    """Return a page's blocks of shell, in order."""
    return _BLOCK.findall(page.read_text())


def spans(page: Path, program: str) -> list[str]:
    """Return the commands of a program that stand inside sentences, such as `sluice plan`."""
    found = (text.removeprefix(".venv/bin/") for text in _SPAN.findall(_FENCED.sub("", page.read_text())))
    return [text for text in found if text.startswith(f"{program} ")]


def run(page: Path, folder: Path, canned: Mapping[str, str]) -> list[Told]:
    """Run all blocks of a page as one shell session and return what programs were told.

    Raises:
        AssertionError: bash stumbled: a syntax error, a variable that no line sets, a folder that is not there.
    """
    home, programs, log = folder / "sluice", folder / "bin", folder / "told"
    home.mkdir(parents=True)
    for name in ("stacks", "policies", "environments", "requirements", "docs"):
        (home / name).symlink_to(ROOT / name)
    for place, names in ((programs, _PROGRAMS), (home / ".venv" / "bin", _OURS)):
        place.mkdir(parents=True)
        for name in names:
            (place / name).write_text(_STUB)
            (place / name).chmod(0o755)
    log.touch()
    script = "set -eu -o pipefail\n" + "\n".join(blocks(page))
    environment = {"PATH": f"{programs}:/usr/bin:/bin", "HOME": str(folder)}
    environment |= {"TOLD": str(log), "CANNED": json.dumps(canned)}
    done = subprocess.run(
        ["bash", "-c", script], cwd=folder, env=environment, capture_output=True, text=True, check=False, timeout=60
    )
    assert done.returncode == 0, done.stderr
    calls = [json.loads(line) for line in log.read_text().splitlines()]
    return [Told(str(Path(call["folder"]).resolve()), tuple(call["told"])) for call in calls]
