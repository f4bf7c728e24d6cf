"""Every AWS resource of every stack, as Terraform's AWS provider sees it: a second opinion on its shape."""

from __future__ import annotations

from typing import Any

import pytest

from components.image_cache import ImageCache, ImageCacheArgs
from components.model_store import Images, ImagesArgs
from environments.upstreams import cached
from tests.components.mocked import ACCOUNT, OWNED, make, plain
from tests.components.test_everywhere import ENVIRONMENTS, everything
from tests.support.terraform import Asked, Terraform, Unknown, terraform

pytestmark = pytest.mark.xdist_group("terraform")


@pytest.fixture(scope="module")
def judge(tmp_path_factory: pytest.TempPathFactory) -> Terraform:
    """Return Terraform with its provider; a machine without them skips, and says so."""
    return terraform(tmp_path_factory.mktemp("terraform"))


def asked(environment: str) -> list[Asked]:
    """Return what the three stacks of an environment ask AWS for."""
    return [Asked(m.type, m.name, plain(m.inputs)) for m in everything(environment) if m.type.startswith("aws:")]


def test_terraforms_provider_refuses_nothing_that_any_environment_asks_for(judge: Terraform) -> None:
    """Ask once, with the resources of all: each question starts the provider anew."""
    resources = [found for environment in ENVIRONMENTS for found in asked(environment)]
    args = ImagesArgs(("mlflow",), ACCOUNT, ["us-east-1"], deletion_protection=True, owned=OWNED)
    images = make(lambda: Images("images", args)).cloud()
    copies = ImageCacheArgs("eu-central-1", ACCOUNT, cached({"docker_hub": "ecr-pullthroughcache/d"}), OWNED)
    cache = make(lambda: ImageCache("cache", copies)).cloud()
    resources += [Asked(m.type, m.name, plain(m.inputs)) for m in (*images, *cache)]
    assert len(resources) > 600
    assert judge.refusals(resources) == []


# A resource of a wrong shape, and what the provider says of it.
WRONG: list[tuple[str, dict[str, Any], str]] = [
    ("aws:ec2/vpc:Vpc", {"cidrBlock": "10.0.0.0/8"}, "between 16 and 28 significant bits"),
    ("aws:ec2/vpc:Vpc", {"cidrBlock": "10.0.1.0/16"}, "expected 10.0.0.0/16"),
    ("aws:iam/role:Role", {"name": "r" * 65, "assumeRolePolicy": "{}"}, "length of name"),
    ("aws:cloudwatch/logGroup:LogGroup", {"name": "g", "retentionInDays": 100}, "retention_in_days"),
    ("aws:sqs/queue:Queue", {"name": "q", "messageRetentionSeconds": 10}, "message_retention_seconds"),
    ("aws:eks/cluster:Cluster", {"roleArn": "role", "vpcConfig": {"subnetIds": ["s"]}}, "invalid ARN"),
    ("aws:s3/bucketPolicy:BucketPolicy", {"bucket": "b", "policy": "no json"}, "invalid JSON"),
    ("aws:sns/topicSubscription:TopicSubscription", {"topic": "t", "protocol": "pigeon", "endpoint": "x"}, "protocol"),
]


def test_a_wrong_shape_is_refused(judge: Terraform) -> None:
    said = judge.refusals([Asked(kind, f"wrong{i}", inputs) for i, (kind, inputs, _) in enumerate(WRONG)])
    for i, (kind, _, says) in enumerate(WRONG):
        own = [text for text in said if f"wrong{i}:" in text]
        assert any(says in text for text in own), f"{kind}: {own}"


@pytest.mark.parametrize(
    ("kind", "inputs"),
    [
        ("aws:ec2/vpcs:Vpcs", {"cidrBlock": "10.0.0.0/16"}),
        ("aws:ec2/vpc:Vpc", {"cidrBlok": "10.0.0.0/16"}),
        ("aws:eks/cluster:Cluster", {"vpcConfig": {"subnets": []}}),
    ],
)
def test_what_terraform_has_no_word_for_is_an_error(kind: str, inputs: dict[str, Any], judge: Terraform) -> None:
    with pytest.raises(Unknown):
        judge.refusals([Asked(kind, "wrong", inputs)])
