"""Photograph the comment and the report as people see them: `python -m tests.docs.pictures`, with Chromium.

Each picture holds the digest of the page that it shows, so a test knows without a browser when it is out of date.
`python -m tests.docs.pictures FOLDER` writes more of them there to look at: narrow, dark, and other plans.
"""

from __future__ import annotations

import hashlib
import shutil
import struct
import subprocess
import sys
import tempfile
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from markdown_it import MarkdownIt

from tests.docs.golden_pull_request import played
from tests.support.processes import ROOT

ASSETS = ROOT / "docs" / "assets"
BYTES_MAX = 200_000
_KEY = b"Source"
_SIGNATURE = 8  # bytes before the first chunk of a PNG
# Looks like a comment of GitHub: its widths, its type and its tables, which scroll by themselves when they are wide.
_COMMENT_CSS = """
:root{color-scheme:light dark;--ink:#1f2328;--soft:#59636e;--rule:#d1d9e0;--back:#fff;--code:#eff1f3;
--plus:#dafbe1;--minus:#ffebe9}
@media(prefers-color-scheme:dark){:root{--ink:#f0f6fc;--soft:#9198a1;--rule:#3d444d;--back:#0d1117;--code:#2a313c;
--plus:#12261e;--minus:#25171c}}
body{margin:0;padding:16px;background:var(--back);color:var(--ink);
font:14px/1.5 system-ui,"Noto Sans",Helvetica,Arial,sans-serif,"Noto Color Emoji"}
main{max-width:830px;margin:auto;border:1px solid var(--rule);border-radius:6px}
header{padding:8px 16px;border-bottom:1px solid var(--rule);color:var(--soft)}
article{padding:16px;overflow-wrap:break-word}h3{font-size:1.25em;margin:0 0 16px}h4{margin:24px 0 16px}
table{display:block;width:max-content;max-width:100%;overflow:auto;border-collapse:collapse;margin:0 0 16px}
td,th{padding:6px 13px;border:1px solid var(--rule);text-align:left}
code{background:var(--code);padding:.2em .4em;border-radius:6px;font-size:85%;font-family:monospace}
pre{background:var(--code);padding:16px;border-radius:6px;overflow:auto}pre code{background:none;padding:0}
ul{padding-left:2em}li+li{margin-top:.25em}sub{font-size:75%;vertical-align:baseline;color:var(--soft)}
"""


@dataclass(frozen=True)
class Picture:
    """A page and the window that it is photographed in, in CSS pixels."""

    html: str
    width: int
    height: int
    dark: bool = False

    @property
    def source(self) -> str:
        """Return the digest of all that decides what it shows."""
        told = (self.html, self.width, self.height, self.dark)
        return hashlib.sha256(repr(told).encode()).hexdigest()


def comment_html(markdown: str) -> str:
    """Return a comment as a page: GitHub's Markdown has tables and lets `<details>`, `<sub>` and `<br>` through."""
    body = MarkdownIt("commonmark", {"html": True}).enable(["table", "strikethrough"]).render(markdown)
    head = f"<!doctype html><meta charset=utf-8><style>{_COMMENT_CSS}</style>"
    return f"{head}<main><header><b>github-actions</b> commented</header><article>{body}</article></main>"


def pictures() -> Mapping[str, Picture]:
    """Return what docs/assets holds, by the file's name."""
    found = played()
    return {
        "pull-request.png": Picture(comment_html(found.comment), 900, 800),
        "report.png": Picture(found.report, 960, 1450),
    }


def source_in(png: bytes) -> str | None:
    """Return the digest that `photograph` wrote into a picture, None when it holds none."""
    at = _SIGNATURE
    while at + 8 <= len(png):
        size, kind = struct.unpack(">I4s", png[at : at + 8])
        data = png[at + 8 : at + 8 + size]
        if kind == b"tEXt" and data.startswith(_KEY + b"\0"):
            return data[len(_KEY) + 1 :].decode("latin-1")
        at += 12 + size
    return None


def photograph(picture: Picture, path: Path) -> None:
    """Write a picture of a page; ends where there is no Chromium."""
    browser = shutil.which("chromium") or shutil.which("google-chrome")
    if browser is None:
        sys.exit("Chromium is not here; install it (Debian: apt-get install chromium)")
    with tempfile.TemporaryDirectory() as folder:
        page, shot = Path(folder, "page.html"), Path(folder, "page.png")
        page.write_text(picture.html)
        command = [
            browser,
            "--headless",
            "--no-sandbox",  # a root user has no sandbox; the page is ours
            "--disable-gpu",
            "--hide-scrollbars",
            f"--user-data-dir={folder}/profile",
            f"--blink-settings=preferredColorScheme={0 if picture.dark else 1}",
            f"--window-size={picture.width},{picture.height}",
            f"--screenshot={shot}",
            page.as_uri(),
        ]
        subprocess.run(command, check=True, capture_output=True, timeout=120)
        path.write_bytes(_marked(shot.read_bytes(), picture.source))


def _marked(png: bytes, source: str) -> bytes:
    """Return a PNG with a text chunk behind its header, which is the first chunk."""
    end = _SIGNATURE + 12 + struct.unpack(">I", png[_SIGNATURE : _SIGNATURE + 4])[0]
    data = b"tEXt" + _KEY + b"\0" + source.encode()
    chunk = struct.pack(">I", len(data) - 4) + data + struct.pack(">I", zlib.crc32(data))
    return png[:end] + chunk + png[end:]


def _more() -> Mapping[str, Picture]:
    """Return pictures to look at: what breaks a layout is a narrow window, a dark one, and a plan with findings."""
    from reconciler.output.plan_markdown import Reviewed, plan_markdown
    from tests.golden.test_cli_plans import PLANS, spec

    denied = plan_markdown(Reviewed(PLANS["rollout"], spec(), lambda found: "environments/test.yaml:7"))
    found = {"denied": comment_html(denied), "comment": comment_html(played().comment), "report": played().report}
    return {
        f"{name}-{how}.png": Picture(html, width, height, dark)
        for name, html in found.items()
        for how, width, height, dark in (("wide", 1000, 1600, False), ("narrow", 500, 2200, True))
    }


def main(arguments: list[str]) -> None:
    """Write the pictures of docs/, or with a folder those to look at."""
    folder = Path(arguments[0]) if arguments else ASSETS
    for name, picture in (_more() if arguments else pictures()).items():
        photograph(picture, folder / name)
        print(folder / name, (folder / name).stat().st_size)


if __name__ == "__main__":
    main(sys.argv[1:])
