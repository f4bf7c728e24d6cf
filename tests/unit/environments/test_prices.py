"""The snapshot of prices: every row says where it is from, unknown is never 0, and damage is told."""

from __future__ import annotations

import json
from datetime import date
from pathlib import Path
from typing import Any

import pytest

from environments.errors import SluiceError
from environments.load import load
from environments.prices import (
    FILE,
    UNKNOWN,
    Price,
    PriceBook,
    book_from_json,
    book_text,
    book_to_json,
    packaged,
    prices_beside,
    read_prices,
)
from reconciler.cli.prices import machines
from tests.unit.policies.fixtures import ROOT

ROW = {
    "service": "ec2",
    "region": "us-east-1",
    "instance": "g6.xlarge",
    "usd_per_hour": 0.8,
    "date": "2026-01-21",
    "source": "s",
}


def book(**facts: Any) -> dict[str, Any]:
    return {"schema": "sluice/prices/v1", "sources": {"s": "somewhere"}, "rows": [{**ROW, **facts}]}


def test_every_row_of_the_snapshot_has_a_date_a_source_and_a_price_or_a_reason() -> None:
    rows = packaged().rows
    assert len(rows) > 400
    assert len({(r.service, r.region, r.instance) for r in rows}) == len(rows)
    for row in rows:
        assert date.fromisoformat(row.date) <= date(2026, 11, 30)
        assert packaged().sources[row.source]
        assert (row.usd_per_hour is None) == bool(row.reason)
        assert row.usd_per_hour != 0


def test_the_file_is_what_the_book_writes() -> None:
    path = ROOT / "environments" / FILE
    assert book_text(read_prices(path)) == path.read_text("utf-8")


def test_a_larger_machine_of_a_family_is_dearer() -> None:
    def usd(instance: str) -> float:
        return packaged().find("ec2", "eu-central-1", instance).usd_per_hour or 0.0

    for family in ("g5", "g6", "g6e"):
        assert (
            0
            < usd(f"{family}.xlarge")
            < usd(f"{family}.2xlarge")
            < usd(f"{family}.12xlarge")
            < usd(f"{family}.48xlarge")
        )


@pytest.mark.parametrize("name", ["dev", "staging", "prod"])
def test_every_machine_of_the_shipped_environments_has_a_row(name: str) -> None:
    for each in machines(load(ROOT / "environments" / f"{name}.yaml").spec):
        assert packaged().find(*each).source != "none" or packaged().find(*each).reason.startswith("no public source")


def test_a_row_that_is_not_there_is_unknown_and_says_so() -> None:
    found = packaged().find("ec2", "eu-west-9", "g6.xlarge")
    assert (found.usd_per_hour, found.reason) == (None, "no row for ec2 g6.xlarge in eu-west-9")
    assert packaged().find("ec2", "local", "g6.xlarge") == packaged().find("ec2", "us-east-1", "g6.xlarge")


def test_age_counts_from_the_oldest_figure_and_the_version_is_the_newest() -> None:
    made = PriceBook(
        (
            Price("ec2", "a", "x.y", 1.0, "2026-01-01", "s"),
            Price("ec2", "a", "x.z", 1.0, "2026-03-01", "s"),
            Price("ec2", "a", "x.q", None, "2025-01-01", "s", "why"),
        )
    )
    assert made.age_days(date(2026, 1, 31)) == 30
    assert made.version == "aws 2026-03-01"
    assert PriceBook().age_days(date(2026, 1, 1)) is None


def test_rows_replace_those_of_the_same_machine_and_others_stay() -> None:
    before = packaged()
    new = Price("ec2", "eu-central-1", "g6.xlarge", 9.0, "2026-11-30", "x")
    after = before.with_rows([new], {"x": "there"})
    assert after.find("ec2", "eu-central-1", "g6.xlarge") == new
    assert len(after.rows) == len(before.rows)
    assert after.sources["x"] == "there"


@pytest.mark.parametrize(
    ("data", "why"),
    [
        ([], "schema"),
        ({"schema": "other"}, "schema"),
        (book(usd_per_hour=0), "is no price"),
        (book(usd_per_hour=-1), "is no price"),
        (book(usd_per_hour="nan"), "is no price"),
        (book(usd_per_hour="cheap"), "row 0"),
        (book(usd_per_hour=UNKNOWN), "neither a price nor a reason"),
        (book(date="yesterday"), "row 0"),
        (book(source="t"), "sources does not say what t is"),
        ({"schema": "sluice/prices/v1", "rows": [{}]}, "row 0"),
    ],
)
def test_what_is_damaged_is_refused_with_the_row(data: Any, why: str) -> None:
    with pytest.raises(SluiceError, match=why) as caught:
        book_from_json(data, "prices.json")
    assert caught.value.code == "PRICE-001"
    assert caught.value.problem.do


def test_a_file_beside_the_environments_takes_the_place_of_the_packaged_one(tmp_path: Path) -> None:
    assert prices_beside(tmp_path) is packaged()
    (tmp_path / FILE).write_text(json.dumps(book()))
    assert [row.usd_per_hour for row in prices_beside(tmp_path).rows] == [0.8]
    (tmp_path / FILE).write_text("{")
    with pytest.raises(SluiceError, match="PRICE-001"):
        prices_beside(tmp_path)


def test_what_is_written_is_read_back() -> None:
    assert book_from_json(book_to_json(packaged()), "x") == packaged()
