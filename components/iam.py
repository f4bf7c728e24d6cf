"""IAM policy documents as text. Pure."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

POD_IDENTITY = "pods.eks.amazonaws.com"
Conditions = Mapping[str, Mapping[str, str | Sequence[str]]]


@dataclass(frozen=True)
class Grant:
    """Actions that are allowed on resources, under conditions if there are any."""

    actions: Sequence[str]
    resources: Sequence[str]
    conditions: Conditions | None = None

    def statement(self) -> dict[str, Any]:
        """Return it as a statement of a policy."""
        found: dict[str, Any] = {"Effect": "Allow", "Action": list(self.actions), "Resource": list(self.resources)}
        return found | ({"Condition": self.conditions} if self.conditions else {})


def policy(*grants: Grant) -> str:
    """Return a policy with one statement for each grant."""
    return document([grant.statement() for grant in grants])


def document(statements: Sequence[Mapping[str, Any]]) -> str:
    """Return statements as the text of a policy."""
    return json.dumps({"Version": "2012-10-17", "Statement": list(statements)})


def assumed_by(service: str, *actions: str) -> str:
    """Return the trust policy of a role that one AWS service takes; `sts:AssumeRole` unless `actions` are given."""
    allowed = list(actions or ("sts:AssumeRole",))
    return document([{"Effect": "Allow", "Principal": {"Service": service}, "Action": allowed}])


def assumed_by_pods() -> str:
    """Return the trust policy of a role that pods take through EKS pod identity."""
    return assumed_by(POD_IDENTITY, "sts:AssumeRole", "sts:TagSession")


def administered(account: str, *others: Mapping[str, Any]) -> str:
    """Return a key's policy: the account administers it and may grant its use; `others` are further statements.

    In a key's policy the resource is the key itself, spelled `*`. Source: AWS KMS, "Key policies".
    """
    root = {"AWS": f"arn:aws:iam::{account}:root"}
    return document([{"Effect": "Allow", "Principal": root, "Action": "kms:*", "Resource": "*"}, *others])
