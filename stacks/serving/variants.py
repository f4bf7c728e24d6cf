"""The serving part of one SageMaker region: roles, autoscaling and alarms around each endpoint."""

from __future__ import annotations

from collections.abc import Mapping

import pulumi

from components.declared import Declared
from components.sagemaker_endpoint import SageMakerEndpoint, SageMakerEndpointArgs
from environments.names import cluster_name, fit
from stacks.references import Foundation


def sagemaker_region(found: Declared, region: str, foundation: Foundation) -> Mapping[str, pulumi.Output[str]]:
    """Make what stands around a region's endpoints; return each endpoint's execution role."""
    return {name: _endpoint(found, region, name, foundation) for name in found.endpoints(region)}


def _endpoint(found: Declared, region: str, endpoint: str, foundation: Foundation) -> pulumi.Output[str]:
    spec, block = found.loaded.spec.endpoints[endpoint], found.infrastructure
    args = SageMakerEndpointArgs(
        endpoint=endpoint,
        spec=spec,
        region=region,
        account=foundation.output("account"),
        bucket_arn=foundation.of(region, "bucket_arn"),
        key_arn=foundation.of(region, "key_arn"),
        topic_arn=foundation.topic(region, spec.team),
        alarms=block.alarms,
        autoscaling=block.sagemaker_autoscaling,
        owned=found.owned.by(spec.team),
    )
    name = fit(f"{cluster_name(found.environment, region)}-{endpoint}", 56)
    return SageMakerEndpoint(name, args, foundation.aws_options(region)).role_arn
