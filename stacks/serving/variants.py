"""The serving part of one SageMaker region: roles, autoscaling and alarms around each endpoint.

Imports `components`. Called by this stack's program.
"""

from __future__ import annotations

from collections.abc import Mapping

import pulumi

from components.declared import Declared
from components.sagemaker_endpoint import SageMakerEndpoint, SageMakerEndpointArgs
from environments.names import cluster_name, fit
from stacks.serving.outputs import Platform


def sagemaker_region(found: Declared, region: str, platform: Platform) -> Mapping[str, pulumi.Output[str]]:
    """Make what stands around a region's endpoints; return each endpoint's execution role."""
    return {name: _endpoint(found, region, name, platform) for name in found.endpoints(region)}


def _endpoint(found: Declared, region: str, endpoint: str, platform: Platform) -> pulumi.Output[str]:
    spec, block = found.loaded.spec.endpoints[endpoint], found.infrastructure
    args = SageMakerEndpointArgs(
        endpoint=endpoint,
        spec=spec,
        region=region,
        account=platform.output("account"),
        bucket_arn=platform.of(region, "bucket_arn"),
        key_arn=platform.of(region, "key_arn"),
        topic_arn=platform.topic(region, spec.team),
        alarms=block.alarms,
        autoscaling=block.sagemaker_autoscaling,
        owned=found.owned.by(spec.team),
    )
    name = fit(f"{cluster_name(found.environment, region)}-{endpoint}", 56)
    return SageMakerEndpoint(name, args, platform.aws_options(region)).role_arn
