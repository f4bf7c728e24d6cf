"""`sluice report`: a page that stands alone, tells the whole story, and in which no text acts."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import pytest

from reconciler.core.attest.heads import Doubt, Heads
from reconciler.core.model.release import Artifact, Lineage, Release
from reconciler.core.model.rollout import Phase, RegionRollout, Rollout
from reconciler.operations.anchor import Checked
from reconciler.operations.report import Story
from reconciler.output.report_html import report_html
from reconciler.ports import Entry, Verification
from tests.support.builders.releases import SETTINGS
from tests.support.builders.signing import Person
from tests.support.reviewed import Project

PAGE = Path("report.html")
ACTIVE = {"script", "img", "iframe", "object", "embed", "link", "a", "form", "input", "base", "video", "audio", "image"}
LOADS = {"src", "href", "xlink:href", "action", "srcset", "data", "poster", "style"}


class Page(HTMLParser):
    """Collects what a browser would see of a page."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.words: list[str] = []
        self.open: list[str] = []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.words.append(data)

    @property
    def text(self) -> str:
        """All text."""
        return " ".join(self.words)


def harmless(text: str) -> Page:
    """Return a page after checking that nothing in it acts and that it asks nobody for anything."""
    page = Page(text)
    assert not {tag for tag, _ in page.tags} & ACTIVE
    for tag, attributes in page.tags:
        assert not {name for name in attributes if name in LOADS or name.startswith("on")}, (tag, attributes)
    assert "default-src 'none'" in text
    assert not re.search(r"@import|url\(", text)
    return page


@pytest.fixture
def ended(project: Project, tmp_path: Path) -> Project:
    """Return a project with one approved rollout that could not start its server, and a signed ledger."""
    ann, key = Person("ann", tmp_path), Person("ledger", tmp_path, kind="p256")
    project.declare(
        approvals={"needed": 1, "keys": [ann.listed()]},
        ledger={"sign_with": f"file:{key.path}", "keys": [{"name": "key", "public_key": key.public_key}]},
    )
    project.call("plan", "dev", "-o", "plan.json")
    project.call("approve", "plan.json", "--key", str(ann.path))
    project.call("apply", "plan.json", code=4)
    return project


def test_a_page_tells_plan_approvals_time_line_and_proof(ended: Project) -> None:
    told = json.loads(ended.call("report", "dev", "-o", "report.html", "--json"))
    page = harmless(PAGE.read_text())
    entries = json.loads(ended.call("history", "dev", "--json"))
    digest = json.loads(Path("plan.json").read_text())["digest"]
    last = next(e for e in entries if e["kind"] == "signed")
    for expected in (told["rollout"], "rolled_back", "PLAT-008", digest, "ann", "file:models/v1", "the chain is whole"):
        assert expected in page.text, expected
    assert last["hash"] in page.text, "the last entry of the rollout"
    assert "No canary was judged." in page.text or "nothing was measured" in page.text
    again = ended.call("report", "dev", "--rollout", told["rollout"], "-o", "again.html")
    assert told["rollout"] in again
    assert Path("again.html").read_text() == PAGE.read_text(), "the same bytes for the same rollout"


def test_there_must_be_such_a_rollout(project: Project) -> None:
    assert project.refused("report", "dev", "-o", "report.html")["code"] == "STORE-004"
    assert project.refused("report", "dev", "--rollout", "chat-1", "-o", "report.html")["code"] == "STORE-004"
    assert not PAGE.exists()


HOSTILE = "</td></svg></style><script>alert(1)</script><img src=x onerror=alert(1)>\"'&"
ACCOUNT = "111122223333"
SECRET = "gh" + "p_" + "a1B2c3D4e5F6g7H8i9J0"


def tick(t_s: float) -> dict[str, object]:
    arm = {"requests": 100, "errors": 1, "ttft_s": {"0.25": 40, "0.5": 90, "+Inf": 99}}
    return {"t_s": t_s, "weight_pct": 10, "champion": arm, "challenger": arm}


def hostile_story() -> Story:
    part = Artifact(HOSTILE, f"arn:aws:s3:eu:{ACCOUNT}:x")
    release = Release("chat", "vllm", part, {HOSTILE: HOSTILE}, {HOSTILE: part}, lineage={"model": Lineage(HOSTILE)})
    region = RegionRollout(HOSTILE, 0, "a", phase=Phase.ROLLED_BACK, reason=HOSTILE)
    rollout = Rollout(HOSTILE, HOSTILE, HOSTILE, release, SETTINGS, (region,), 0.0, Phase.ROLLED_BACK)
    rollout = replace(rollout, reason=f"{HOSTILE} token={SECRET}", actor=HOSTILE)
    entry = Entry(HOSTILE, 1, HOSTILE, HOSTILE, HOSTILE, HOSTILE, HOSTILE, HOSTILE, {}, HOSTILE, HOSTILE)
    proof = Checked(
        Verification(ok=False, checked=0, problem=HOSTILE, seq=1), Heads((), (Doubt(HOSTILE, HOSTILE, rewritten=True),))
    )
    return Story(rollout, (entry,), ((HOSTILE, tuple(tick(10.0 * n) for n in range(1, 6))),), None, proof)


def test_a_hostile_name_is_text_and_nothing_else() -> None:
    text = report_html(hostile_story())
    page = harmless(text)
    assert "<script>alert(1)</script>" in page.text, "it is shown as it is"
    assert text.count("<svg") == text.count("</svg>") == 1
    assert text.count("<style>") == text.count("</style>") == 1
    assert "polyline" in {tag for tag, _ in page.tags}, "the evidence is drawn"
    assert ACCOUNT not in text
    assert SECRET not in text


def test_a_narrow_page_breaks_no_word_that_fits_and_no_line_that_does_not() -> None:
    """A browser broke `region` into `regi on`, and a digest ran out of the page: tests/docs/pictures.py shows it."""
    digest = "sha256:" + "a" * 64
    told = hostile_story()
    part = Artifact("file:models/v1", digest)
    told = replace(told, rollout=replace(told.rollout, challenger=Release("chat", "vllm", part)))
    text = report_html(told)
    assert 'name="viewport"' in text
    assert f'<td class="long">{digest}</td>' in text
    assert "<td>file:models/v1</td>" in text
    assert text.count('<div class="wide"><table>') == text.count("<table>")
    assert not re.search(r"t[hd][^}]*\{[^}]*overflow-wrap:anywhere", text.replace("td.long{", "long{"))
