"""IAM policy documents as text. Pure; every component that makes a role calls it."""

from __future__ import annotations

import json
from collections.abc import Sequence

POD_IDENTITY = "pods.eks.amazonaws.com"


def assumed_by(service: str, *actions: str) -> str:
    """Return the trust policy of a role that one AWS service takes; `sts:AssumeRole` unless `actions` are given."""
    statement = {
        "Effect": "Allow",
        "Principal": {"Service": service},
        "Action": list(actions or ("sts:AssumeRole",)),
    }
    return json.dumps({"Version": "2012-10-17", "Statement": [statement]})


def allow(actions: Sequence[str], resources: Sequence[str]) -> str:
    """Return a policy that allows some actions on some resources."""
    return statements((actions, resources))


def statements(*grants: tuple[Sequence[str], Sequence[str]]) -> str:
    """Return a policy with one statement for each pair of actions and resources."""
    found = [{"Effect": "Allow", "Action": list(a), "Resource": list(r)} for a, r in grants]
    return json.dumps({"Version": "2012-10-17", "Statement": found})


def assumed_by_pods() -> str:
    """Return the trust policy of a role that pods take through EKS pod identity."""
    return assumed_by(POD_IDENTITY, "sts:AssumeRole", "sts:TagSession")
