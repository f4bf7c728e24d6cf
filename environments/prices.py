"""What machines cost, as dated data with a source in each row: read from a snapshot, asked by plans and policies.

Only `packaged` and `read_prices` read files. Unknown is never 0: it is a row without a figure, or no row, and a reason.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import date
from functools import cache, cached_property
from pathlib import Path
from typing import Any

from environments.errors import SluiceError

SCHEMA = "sluice/prices/v1"
FILE = "aws_prices.json"
EC2, SAGEMAKER = "ec2", "sagemaker"
UNKNOWN = "[?]"
SPOT_SHARE = 0.4
"""A spot machine is taken at this share of the on-demand price: an assumption, for its price changes by the hour."""
ELSEWHERE = "us-east-1"
"""Whose prices stand for machines outside of AWS's regions, such as those of a region called `local`."""
AWS_REGION = re.compile(r"[a-z]{2}(-[a-z]+)+-\d")


@dataclass(frozen=True, order=True)
class Price:
    """One machine's on-demand price in one region, USD an hour; None is unknown, and `reason` says why.

    `source` is a key of the book's sources, `date` the day that the source speaks of (YYYY-MM-DD).
    """

    service: str
    region: str
    instance: str
    usd_per_hour: float | None
    date: str
    source: str
    reason: str = ""


@dataclass(frozen=True)
class PriceBook:
    """Prices by service, region and instance type, and what their sources are called."""

    rows: tuple[Price, ...] = ()
    sources: Mapping[str, str] = field(default_factory=dict)

    def find(self, service: str, region: str, instance: str) -> Price:
        """Return the row, or one without a figure that says what is missing."""
        asked = region if AWS_REGION.fullmatch(region) else ELSEWHERE
        found = self._by_key.get((service, asked, instance))
        reason = f"no row for {service} {instance} in {asked}"
        return found or Price(service, asked, instance, None, "", "none", reason)

    @property
    def version(self) -> str:
        """Return what a plan calls these prices: the newest day that a row speaks of."""
        return f"aws {max((row.date for row in self.rows), default='none')}"

    def age_days(self, today: date) -> int | None:
        """Return how old the oldest row with a figure is, None for a book without one."""
        days = [date.fromisoformat(row.date) for row in self.rows if row.usd_per_hour is not None]
        return (today - min(days)).days if days else None

    def with_rows(self, rows: Iterable[Price], sources: Mapping[str, str]) -> PriceBook:
        """Return the book with these rows in the place of those of the same machine; what is not asked for stays."""
        merged = self._by_key | {(r.service, r.region, r.instance): r for r in rows}
        return PriceBook(tuple(sorted(merged.values(), key=_key)), {**self.sources, **sources})

    @cached_property
    def _by_key(self) -> dict[tuple[str, str, str], Price]:
        return {_key(row): row for row in self.rows}


NO_PRICES = PriceBook()


def book_from_json(data: Any, where: str) -> PriceBook:
    """Return the book that a file holds.

    Raises:
        SluiceError: `PRICE-001` it is none, naming the row that is wrong.
    """
    if not isinstance(data, dict) or data.get("schema") != SCHEMA:
        raise _damaged(where, f"its schema is not {SCHEMA}")
    rows = [_row(number, each, where) for number, each in enumerate(data.get("rows", []))]
    if unsaid := sorted({row.source for row in rows} - set(data.get("sources", {}))):
        raise _damaged(where, f"sources does not say what {', '.join(unsaid)} is")
    return PriceBook(tuple(sorted(rows, key=_key)), dict(data.get("sources", {})))


def book_to_json(book: PriceBook) -> dict[str, Any]:
    """Return the book as its file keeps it, the same bytes for the same prices."""
    return {"schema": SCHEMA, "sources": dict(sorted(book.sources.items())), "rows": [_told(r) for r in book.rows]}


def book_text(book: PriceBook) -> str:
    """Return the file's text: a row a line, so that a review shows which price has changed."""
    told = book_to_json(book)
    rows = ",\n".join(f"  {json.dumps(row, sort_keys=True)}" for row in told["rows"])
    sources = json.dumps(told["sources"], indent=2, sort_keys=True).replace("\n", "\n ")
    return f'{{\n "schema": "{SCHEMA}",\n "sources": {sources},\n "rows": [\n{rows}\n ]\n}}\n'


@cache
def packaged() -> PriceBook:
    """Return the snapshot that came with this version."""
    return read_prices(Path(__file__).with_name(FILE))


def prices_beside(folder: Path) -> PriceBook:
    """Return the snapshot beside the environment files of `folder`, or the packaged one where there is none."""
    own = folder / FILE
    return read_prices(own) if own.is_file() else packaged()


def read_prices(path: Path) -> PriceBook:
    """Return the book in a file.

    Raises:
        SluiceError: `PRICE-001`.
    """
    try:
        data = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise _damaged(path.name, str(error)) from error
    return book_from_json(data, path.name)


def _key(row: Price) -> tuple[str, str, str]:
    return row.service, row.region, row.instance


def _row(number: int, data: Any, where: str) -> Price:
    try:
        usd = None if data["usd_per_hour"] == UNKNOWN else float(data["usd_per_hour"])
        day = date.fromisoformat(data["date"]).isoformat()
        made = Price(
            data["service"], data["region"], data["instance"], usd, day, data["source"], data.get("reason", "")
        )
    except (KeyError, TypeError, ValueError) as error:
        raise _damaged(where, f"row {number}: {type(error).__name__} {error}") from error
    if usd is None and not made.reason:
        raise _damaged(where, f"row {number}: {made.instance} has neither a price nor a reason for having none")
    if usd is not None and not 0 < usd < 10_000:
        raise _damaged(where, f"row {number}: {usd:g} USD an hour is no price of {made.instance}")
    return made


def _told(row: Price) -> dict[str, Any]:
    told = {**vars(row), "usd_per_hour": UNKNOWN if row.usd_per_hour is None else row.usd_per_hour}
    return told if row.reason else {k: v for k, v in told.items() if k != "reason"}


def _damaged(where: str, why: str) -> SluiceError:
    return SluiceError(
        "PRICE-001",
        where=where,
        what="the snapshot of prices cannot be used",
        why=why,
        do="correct the row, or take the file away to get the prices of this version, or: sluice prices refresh",
    )
