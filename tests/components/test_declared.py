"""What the stacks refuse before they make anything, and what they read out of an environment file."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from components.declared import Image, declared
from components.tags import label_value
from environments.errors import SluiceError
from tests.infrastructure.stack_rig import copied

IMAGES: tuple[Image, ...] = ("controller", "mlflow", "runtimes")
ENVIRON = {"SLUICE_STORE": "sqlite:///x.db"}


def environments(folder: Path, **changes: object) -> Path:
    """Copy the shipped environments, with some keys of prod's `infrastructure` changed or, for None, removed."""
    copy = copied(folder / "root")
    head, key, block = (copy / "prod.yaml").read_text().partition("\ninfrastructure:\n")
    found = {**yaml.safe_load(block), **changes}
    kept = {name: value for name, value in found.items() if value is not None}
    (copy / "prod.yaml").write_text(f"{head}\n{yaml.safe_dump({key.strip().rstrip(':'): kept})}")
    return copy


def refused(folder: Path, **changes: object) -> SluiceError:
    environ = {**ENVIRON, "SLUICE_ENVIRONMENTS": str(environments(folder, **changes))}
    with pytest.raises(SluiceError) as caught:
        declared("prod", images=IMAGES, environ=environ)
    return caught.value


def test_the_shipped_environments_can_be_built() -> None:
    start = Path(__file__).parent
    for name, clusters in (("dev", 1), ("staging", 1), ("prod", 2)):
        found = declared(name, environ=ENVIRON, start=start)
        assert len(found.clusters) == clusters
        assert found.home == "eu-central-1"
        assert len(set(found.cidrs.values())) == len(found.regions)


def test_dev_is_cheap_and_prod_is_not() -> None:
    dev, prod = (declared(name, environ=ENVIRON, start=Path(__file__).parent) for name in ("dev", "prod"))
    assert (dev.infrastructure.nat_gateways, prod.infrastructure.nat_gateways) == ("one", "per_zone")
    assert len(dev.regions) == 1
    assert all(p.capacity == "spot" and p.nodes.min == 0 for r in dev.regions.values() for p in r.gpu_pools.values())
    assert prod.infrastructure.deletion_protection
    assert prod.infrastructure.database.multi_az


def test_a_stack_without_an_environment_is_refused_by_name() -> None:
    with pytest.raises(SluiceError, match="SPEC-001") as caught:
        declared("prdo", environ=ENVIRON, start=Path(__file__).parent)
    assert "prod" in str(caught.value)


def test_an_environment_without_aws_needs_no_stack() -> None:
    with pytest.raises(SluiceError) as caught:
        declared("local", environ=ENVIRON, start=Path(__file__).parent)
    assert "INFRA-001" in {p.code for p in caught.value.problems}


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"vpc_cidrs": {"eu-central-1": "10.31.0.0/16"}, "vpc_cidr": "10.31.0.0/16"}, "INFRA-002"),
        ({"vpc_cidr": "10.30.0.0/24"}, "INFRA-002"),
        ({"images": None}, "INFRA-003"),
        ({"hosted_zone_id": None}, "INFRA-004"),
        ({"kubernetes_admins": None}, "INFRA-006"),
    ],
)
def test_what_cannot_be_built_is_refused_with_a_line_and_a_way_out(
    tmp_path: Path, changes: dict[str, object], code: str
) -> None:
    problems = refused(tmp_path, **changes).problems
    assert {p.code for p in problems} == {code}
    assert all(p.where.startswith("environments/prod.yaml:") and p.do for p in problems)


@pytest.mark.parametrize(
    ("old", "new", "code", "says"),
    [
        (
            "prometheus.us-east-1.prod.sluice.internal:9090",
            "prometheus.monitoring:9090",
            "INFRA-007",
            "eu-central-1's Prometheus for us-east-1",
        ),
        ("eu-central-1", "eu-west-1", "INFRA-009", "g6.2xlarge of pool l4 is not offered in eu-west-1"),
        ("instances: [g6e.4xlarge]", "instances: [g6e.4xlarge]\n        zones: [euc1-az9]", "INFRA-009", "euc1-az9"),
        ("us-east-1", "us-gov-9", "INFRA-008", "the zones of us-gov-9 are not known"),
    ],
)
def test_what_would_never_serve_is_refused(tmp_path: Path, old: str, new: str, code: str, says: str) -> None:
    folder = environments(tmp_path)
    text = (folder / "prod.yaml").read_text()
    assert old in text
    (folder / "prod.yaml").write_text(text.replace(old, new))
    with pytest.raises(SluiceError) as caught:
        declared("prod", environ={**ENVIRON, "SLUICE_ENVIRONMENTS": str(folder)})
    assert [p for p in caught.value.problems if p.code == code and says in p.what], caught.value


def test_the_first_stacks_need_no_image(tmp_path: Path) -> None:
    folder = environments(tmp_path, images=None)
    assert declared("prod", environ={**ENVIRON, "SLUICE_ENVIRONMENTS": str(folder)}).home


def test_pools_stand_in_zones_that_have_their_type() -> None:
    found = declared("prod", environ=ENVIRON, start=Path(__file__).parent)
    pools = found.clusters["eu-central-1"].gpu_pools
    assert found.zones("eu-central-1") == ("euc1-az1", "euc1-az2", "euc1-az3")
    assert found.pool_zones("eu-central-1", pools["l4"]) == ("euc1-az2", "euc1-az3")
    assert found.pool_zones("eu-central-1", pools["l40s"]) == found.zones("eu-central-1")


def test_every_missing_image_is_named_at_once(tmp_path: Path) -> None:
    named = {p.what.rpartition(" ")[2] for p in refused(tmp_path, images=None).problems}
    assert named == {"controller", "mlflow", "triton", "vllm"}


def test_networks_named_by_hand_stay_where_they_are(tmp_path: Path) -> None:
    folder = environments(tmp_path, vpc_cidrs={"us-east-1": "10.99.0.0/16"})
    found = declared("prod", environ={**ENVIRON, "SLUICE_ENVIRONMENTS": str(folder)})
    assert dict(found.cidrs) == {
        "eu-central-1": "10.30.0.0/16",
        "us-east-1": "10.99.0.0/16",
        "ap-northeast-1": "10.31.0.0/16",
    }


@pytest.mark.parametrize(
    ("text", "label"), [("ML platform, Berlin", "ML-platform-Berlin"), ("-x-", "x"), ("a" * 80, "a" * 63), ("ok", "ok")]
)
def test_any_owner_fits_in_a_label(text: str, label: str) -> None:
    assert label_value(text) == label
