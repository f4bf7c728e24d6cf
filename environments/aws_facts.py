"""What AWS offers where and until when, as dated data: GPU types by zone, zones for clusters, Kubernetes versions.

Pure. A table is a snapshot: `describe-instance-type-offerings` of the account is the last word.
Sources: public catalogue of EC2 offers by zone id (skypilot-catalog, aws/vms.csv), read 2026-11-24; Amazon EKS user
guide, "Kubernetes versions" (release calendar) and "Subnet requirements" (zones without control planes).
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date

READ_ON = date(2026, 11, 24)

# Zones by id: letters mean another zone in each account. Zones in which EKS places no control plane are left out.
ZONES: Mapping[str, tuple[str, ...]] = {
    "ap-northeast-1": ("apne1-az1", "apne1-az2", "apne1-az4"),
    "ap-northeast-2": ("apne2-az1", "apne2-az2", "apne2-az3"),
    "ap-south-1": ("aps1-az1", "aps1-az2", "aps1-az3"),
    "ap-southeast-1": ("apse1-az1", "apse1-az2", "apse1-az3"),
    "ap-southeast-2": ("apse2-az1", "apse2-az2", "apse2-az3"),
    "ca-central-1": ("cac1-az1", "cac1-az2", "cac1-az4"),
    "eu-central-1": ("euc1-az1", "euc1-az2", "euc1-az3"),
    "eu-north-1": ("eun1-az1", "eun1-az2", "eun1-az3"),
    "eu-south-2": ("eus2-az1", "eus2-az2", "eus2-az3"),
    "eu-west-1": ("euw1-az1", "euw1-az2", "euw1-az3"),
    "eu-west-2": ("euw2-az1", "euw2-az2", "euw2-az3"),
    "eu-west-3": ("euw3-az1", "euw3-az2", "euw3-az3"),
    "us-east-1": ("use1-az1", "use1-az2", "use1-az4", "use1-az6"),
    "us-east-2": ("use2-az1", "use2-az2", "use2-az3"),
    "us-west-2": ("usw2-az1", "usw2-az2", "usw2-az3", "usw2-az4"),
}
NO_CLUSTERS = frozenset({"use1-az3", "usw1-az2", "cac1-az3"})

# Families with zones that do not have them; a region without a row here has none of the family.
_FAMILIES: Mapping[str, Mapping[str, tuple[int, ...]]] = {
    "g6": {
        "ap-northeast-1": (1, 4),
        "ap-northeast-2": (1, 3, 4),
        "ap-south-1": (1, 3),
        "ap-southeast-2": (1, 2, 3),
        "ca-central-1": (1, 2),
        "eu-central-1": (2, 3),
        "eu-north-1": (1, 2),
        "eu-south-2": (1, 2, 3),
        "eu-west-2": (2, 3),
        "eu-west-3": (2, 3),
        "us-east-1": (1, 2, 4, 6),
        "us-east-2": (1, 2, 3),
        "us-west-2": (1, 2, 3, 4),
    },
    "g6e": {
        "ap-northeast-1": (1, 4),
        "ap-northeast-2": (1, 2),
        "eu-central-1": (1, 2, 3),
        "eu-north-1": (1, 2),
        "eu-south-2": (2, 3),
        "us-east-1": (1, 2, 4, 6),
        "us-east-2": (1, 2, 3),
        "us-west-2": (1, 2, 3, 4),
    },
}

# The end of standard support; a version after it costs 0.60 USD an hour in place of 0.10.
STANDARD_SUPPORT_ENDS: Mapping[str, date] = {
    "1.31": date(2025, 11, 26),
    "1.32": date(2026, 3, 23),
    "1.33": date(2026, 7, 29),
    "1.34": date(2026, 12, 2),
    "1.35": date(2027, 3, 27),
}


def offered_zones(instance: str, region: str) -> tuple[str, ...] | None:
    """Return the zone ids of a region that offer an instance type; None where the table does not know the family."""
    rows = _FAMILIES.get(instance.partition(".")[0])
    if rows is None or region not in ZONES:
        return None
    prefix = ZONES[region][0].rpartition("-")[0]
    return tuple(f"{prefix}-az{number}" for number in rows.get(region, ()))


def regions_with(instance: str) -> tuple[str, ...]:
    """Return the regions of the table that offer an instance type, sorted; empty for a family that it does not know."""
    return tuple(sorted(_FAMILIES.get(instance.partition(".")[0], {})))


def support_ends(version: str) -> date | None:
    """Return when standard support of a Kubernetes version ends on EKS; None for one that the table does not know."""
    return STANDARD_SUPPORT_ENDS.get(version)
