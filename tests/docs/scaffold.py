"""`make new-gate NAME=x` and its siblings: write the files and lines of a new kind, then print its guide.

    python -m tests.docs.scaffold gate NAME

A guide is docs/adding/KIND.md with NAME filled in; files are the templates beside this module. What a person has to
write says "write me", and the new tests fail there and nowhere else.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from string import Template

TEMPLATES = Path(__file__).parent / "templates"
_NAME = re.compile(r"[a-z][a-z0-9]{1,30}")


@dataclass(frozen=True)
class Line:
    """Text that goes into a file right before the first match of `before`, a regular expression."""

    file: str
    before: str
    text: str


@dataclass(frozen=True)
class Kind:
    """What one kind of addition consists of: files from templates, and lines in files that are there."""

    files: Mapping[str, str]
    lines: Callable[[Mapping[str, str]], tuple[Line, ...]]
    note: str


def _template(name: str, words: Mapping[str, str]) -> str:
    return Template((TEMPLATES / f"{name}.py.txt").read_text()).substitute(words)


def _gate(words: Mapping[str, str]) -> tuple[Line, ...]:
    file = "environments/gates.py"
    return (
        Line(file, r"class GatesSpec\(", _template("gate_spec", words)),
        Line(file, r"\n    def declared", _template("gate_field", words)),
    )


def _policy(words: Mapping[str, str]) -> tuple[Line, ...]:
    name = words["name"]
    return (
        Line("policies/catalog.py", r"from policies import adapters", f"from policies import {name}\n"),
        Line("policies/catalog.py", r"\)\nCATALOG", f"    {name},\n"),
        Line("tests/unit/policies/test_plans.py", r"\)  # fmt: skip\n\n\ndef judged", _template("policy_case", words)),
    )


def _metric_source(words: Mapping[str, str]) -> tuple[Line, ...]:
    return (Line("environments/spec.py", r'"traffic"\]\n"""Where a limit is read', f'"{words["name"]}", '),)


def _platform(words: Mapping[str, str]) -> tuple[Line, ...]:
    file = "environments/spec.py"
    return (
        Line(file, r", Field\(discriminator=\"platform\"\)", f" | {words['Name']}Region"),
        Line(file, r"RegionSpec = Annotated\[", _template("platform_region", words)),
    )


KINDS: Mapping[str, Kind] = {
    "gate": Kind(
        {"gate": "reconciler/gates/$name.py", "test_gate": "tests/contract/test_gate_$name.py"},
        _gate,
        "the gate `$name`",
    ),
    "policy": Kind({"policy": "policies/$name.py"}, _policy, "the policy $ID"),
    "metric-source": Kind(
        {"metric_source": "reconciler/metrics/$name.py", "test_metric_source": "tests/contract/test_metrics_$name.py"},
        _metric_source,
        "the metric source `$name`",
    ),
    "platform": Kind(
        {
            "platform_init": "reconciler/platforms/$name/__init__.py",
            "platform_kind": "reconciler/platforms/$name/kind.py",
            "platform": "reconciler/platforms/$name/platform.py",
            "test_platform": "tests/contract/test_platform_$name.py",
        },
        _platform,
        "the platform `$name`",
    ),
}


def words_of(name: str) -> dict[str, str]:
    """Return what templates are filled with."""
    letters = re.sub(r"\d", "", name)
    return {"name": name, "Name": name.capitalize(), "ID": f"{letters.upper()[:12]}-001"}


def scaffold(root: Path, kind: str, name: str) -> list[str]:
    """Write what a new kind needs below `root` and return the paths that were written, sorted.

    Raises:
        FileExistsError: there is one of that name.
        ValueError: a line has no place in the file that it belongs to.
    """
    words = words_of(name)
    new = {Template(path).substitute(words): _template(key, words) for key, path in KINDS[kind].files.items()}
    for path in new:
        if (root / path).exists():
            raise FileExistsError(path)
    note = Line("CHANGELOG.md", r"(?<=### Added\n)", f"- {Template(KINDS[kind].note).substitute(words)}: write me.\n")
    lines = (*KINDS[kind].lines(words), note)
    changed = _with_lines(root, lines)
    for path, text in {**new, **changed}.items():
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_text(text)
    return sorted({*new, *changed})


def _with_lines(root: Path, lines: tuple[Line, ...]) -> dict[str, str]:
    texts: dict[str, str] = {}
    for line in lines:
        text = texts.get(line.file) or (root / line.file).read_text()
        place = re.search(line.before, text)
        if place is None:
            raise ValueError(f"{line.file} has no place for: {line.text.strip()[:60]}")
        texts[line.file] = text[: place.start()] + line.text + text[place.start() :]
    return texts


def finish(root: Path, written: list[str]) -> None:
    """Put the new code into the one format, and write anew what is generated from the code: schema, pages, help."""
    code = [path for path in written if path.endswith(".py")]
    environment = {**os.environ, "PYTHONPATH": str(root), "SLUICE_GOLDEN": "write"}
    golden = ["tests/golden/test_environments.py", "tests/golden/test_cli.py"]
    for words in (
        ["ruff", "check", "--quiet", "--fix", *code],
        ["ruff", "format", "--quiet", *code],
        ["tests.docs"],
        ["pytest", "-q", "-n0", "-p", "no:cacheprovider", *golden],
    ):
        subprocess.run([sys.executable, "-m", *words], cwd=root, env=environment, check=True, stdout=subprocess.DEVNULL)


def guide(root: Path, kind: str, name: str) -> str:
    """Return the guide of a kind with the name filled in."""
    text = (root / "docs" / "adding" / f"{kind}.md").read_text()
    text = text.replace("UPPER-001", words_of(name)["ID"]).replace("CamelName", name.capitalize())
    return re.sub(r"NAME(?!=)", name, text)


def main(arguments: list[str]) -> int:
    """Scaffold one thing in the repository that this file is in."""
    if len(arguments) != 2 or arguments[0] not in KINDS or not _NAME.fullmatch(arguments[1]):
        print(f"usage: make new-{{{','.join(KINDS)}}} NAME=lowercase (letters and digits)", file=sys.stderr)
        return 2
    root = Path(__file__).parents[2]
    kind, name = arguments
    try:
        written = scaffold(root, kind, name)
    except FileExistsError as there:
        print(f"{there} is there already: choose another NAME", file=sys.stderr)
        return 1
    finish(root, written)
    print("\n".join(f"wrote {path}" for path in written) + "\n\n" + guide(root, kind, name))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
