"""Every link of a page leads somewhere, and every command that a page shows is one: its words and flags are known."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from pathlib import Path

import click
import pytest

from reconciler.cli.main import cli
from tests.docs.pages_text import Shown, anchors, commands, links, pages
from tests.support.processes import ROOT

PAGES = [str(page.relative_to(ROOT)) for page in pages()]


def wrong_with(words: tuple[str, ...]) -> str | None:
    """Return what is wrong with a call of `sluice`, None when the parser takes it; nothing is carried out."""
    command: click.Command = cli
    context = click.Context(cli, info_name="sluice", **cli.context_settings)
    rest = list(words)
    while isinstance(command, click.Group) and rest and not rest[0].startswith("-"):
        if rest[0] == "COMMAND":
            return None
        inner = command.get_command(context, rest[0])
        if inner is None:
            return f"there is no command {rest[0]}"
        command, rest = inner, rest[1:]
        context = click.Context(command, parent=context)  # with the parent's names of --help, which click remembers
    try:
        values, left, _ = command.make_parser(context).parse_args(list(rest))
        for parameter in command.params:
            value = values.get(parameter.name)
            if isinstance(parameter.type, click.Choice) and isinstance(value, str) and not value.isupper():
                parameter.type.convert(value, parameter, context)
    except click.ClickException as error:
        names_an_option = isinstance(error, click.BadOptionUsage) and rest[-1].startswith(
            "-"
        )  # `sluice plan -o`, in prose
        return None if names_an_option else error.format_message()
    return f"nothing takes {left[0]}" if left and left[0].islower() else None


def targets() -> set[str]:
    """Return what `make` knows."""
    text = (ROOT / "Makefile").read_text()
    return {name for names in re.findall(r"^([a-z][a-z -]*):(?!=)", text, re.MULTILINE) for name in names.split()}


def wrong(shown: Shown) -> str | None:
    """Return what is wrong with a command that a page shows."""
    program, *words = shown.words
    if program == "sluice":
        return wrong_with(tuple(words))
    named = [word for word in words if "=" not in word and not word.startswith("-")]
    unknown = sorted(set(named) - targets())
    return f"make has no {', '.join(unknown)}" if unknown and "…" not in "".join(unknown) else None


@pytest.mark.parametrize("page", PAGES)
def test_every_command_is_known(page: str) -> None:
    found = [f"{shown}: {why}" for shown in commands(ROOT / page) if (why := wrong(shown))]
    assert found == []


@pytest.mark.parametrize("page", PAGES)
def test_every_link_leads_somewhere(page: str) -> None:
    broken = []
    for link in links(ROOT / page):
        path, _, anchor = link.partition("#")
        if re.match(r"[a-z]+:", path):
            continue
        target = ((ROOT / page).parent / path).resolve() if path else ROOT / page
        if not target.exists() or (anchor and anchor not in anchors(target)):
            broken.append(link)
    assert broken == []


@pytest.mark.parametrize("page", [page for page in PAGES if not re.match("docs/(adding|how-to)/", page)])
def test_every_file_that_a_page_names_is_there(page: str) -> None:
    """Guides and how-tos name files that are to be made; a name in capitals stands for one."""
    named = re.findall(r"`((?:[\w.-]+/)+[\w.-]+\.(?:py|yaml|md|json|txt))`", (ROOT / page).read_text())
    there = [ROOT, (ROOT / page).parent]
    missing = {name for name in named if not any((root / name).exists() for root in there)}
    assert sorted(name for name in missing if not re.search("[A-Z]{4}", name)) == []


@pytest.mark.parametrize("page", PAGES)
def test_every_python_block_is_python(page: str) -> None:
    for block in re.findall(r"^```python\n(.*?)^```", (ROOT / page).read_text(), re.MULTILINE | re.DOTALL):
        ast.parse(block)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("sluice plan prod --markdwn", "No such option"),
        ("sluice paln prod", "no command paln"),
        ("sluice policy lst", "no command lst"),
        ("sluice gate evil prod --endpoint chat", "not one of"),
        ("sluice apply --approve", None),
        ("sluice ledger export prod > x.jsonl", None),
        ("FOO=1 sluice plan prod && make tset", "make has no tset"),
        ("make new-gate NAME=x", None),
    ],
)
def test_a_wrong_command_would_be_seen(
    text: str, why: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tests.docs.pages_text.ROOT", tmp_path)
    page = tmp_path / "page.md"
    page.write_text(f"# A\n```sh\n{text}\n```\n")
    found = [said for shown in commands(page) if (said := wrong(shown))]
    assert (found == []) if why is None else (len(found) == 1 and why in found[0])


def test_a_wrong_link_would_be_seen(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("# One heading\n[a](other.md) `[no](link.md)`\n```\n[no](code.md)\n```\n## Two: `x` & y\n")
    assert links(page) == ["other.md"]
    assert anchors(page) == {"one-heading", "two-x-y"}


@pytest.mark.slow
def test_the_site_is_built_without_a_warning(tmp_path: Path) -> None:
    built = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--quiet", "--strict", "--site-dir", str(tmp_path / "site")],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert built.returncode == 0, built.stderr
    page = (tmp_path / "site" / "index.html").read_text()
    foreign = set(re.findall(r'(?:src|href)="(https?://[^"]+)"', page))
    assert {url for url in foreign if not url.startswith("https://squidfunk.github.io/mkdocs-material")} == set()
    assert "weights a 50 %, b 50 %" in (tmp_path / "site" / "concepts.html").read_text()
