"""How the kubernetes provider of the tests finds the cluster that a provider resource means."""

from __future__ import annotations

import json
from typing import Any

import pytest
import yaml

from tests.support.pulumi_engine.kubernetes_provider import chosen
from tests.support.pulumi_engine.provider import Refused

PARTS = ("eu-west-1", "us-east-1")
KUBECONFIG = {
    "current-context": "aws",
    "clusters": [{"name": "sluice-prod-us-east-1", "cluster": {"server": "https://abc.eks.amazonaws.com"}}],
}


@pytest.mark.parametrize(
    ("configuration", "part"),
    [
        ({"context": "sluice-prod-eu-west-1"}, "eu-west-1"),
        ({"cluster": "arn:aws:eks:us-east-1:123456789012:cluster/c"}, "us-east-1"),
        ({"kubeconfig": json.dumps(KUBECONFIG)}, "us-east-1"),
        ({"kubeconfig": yaml.safe_dump(KUBECONFIG)}, "us-east-1"),
        ({"kubeconfig": KUBECONFIG}, "us-east-1"),
    ],
)
def test_a_cluster_is_found_by_a_part_of_its_name(configuration: dict[str, Any], part: str) -> None:
    assert chosen(PARTS, configuration) == part


def test_an_unknown_cluster_is_refused_unless_one_fits_all() -> None:
    with pytest.raises(Refused, match='no test cluster for "sluice-prod-ap-south-1"; known: eu-west-1, us-east-1'):
        chosen(PARTS, {"context": "sluice-prod-ap-south-1"})
    assert chosen(("", *PARTS), {"context": "sluice-prod-ap-south-1"}) == ""
