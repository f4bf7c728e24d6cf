"""What stands around a SageMaker endpoint: role, autoscaling, alarms. Variants and weights are the reconciler's."""

from __future__ import annotations

from dataclasses import dataclass

import pulumi
import pulumi_aws as aws

from components.iam import Grant, assumed_by, policy
from components.tags import Owned
from environments.infrastructure import AlarmsSpec
from environments.names import SLOTS, image_repository, sagemaker_endpoint, sagemaker_role
from environments.spec import EndpointSpec

INVOCATIONS_PER_INSTANCE = 120.0
PERIOD_S = 60


@dataclass(frozen=True)
class SageMakerEndpointArgs:
    """An endpoint as declared, what it may read, and where its alarms go.

    `autoscaling` may be on once the endpoint is there: AWS refuses a target that does not exist.
    """

    endpoint: str
    spec: EndpointSpec
    region: str
    account: pulumi.Input[str]
    bucket_arn: pulumi.Input[str]
    key_arn: pulumi.Input[str]
    topic_arn: pulumi.Input[str]
    alarms: AlarmsSpec
    autoscaling: bool
    owned: Owned


class SageMakerEndpoint(pulumi.ComponentResource):
    """An execution role, an autoscaling target for each variant, and alarms.

    Costs 0.10 USD a month for each alarm; instances come with a release. Protects by: a role that reads one bucket
    and one image path, bounds on instances from the spec, and alarms on errors and latency of each variant.
    """

    def __init__(self, name: str, args: SageMakerEndpointArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("sluice:serving:SageMakerEndpoint", name, None, opts)
        self._name, self._args = name, args
        self._own = pulumi.ResourceOptions(parent=self)
        self._endpoint = sagemaker_endpoint(args.owned.environment, args.endpoint)
        self.role_arn = self._role().arn
        for slot in SLOTS:
            if args.autoscaling:
                self._autoscaling(slot)
            self._alarms(slot)
        self.register_outputs({"endpoint": self._endpoint, "role_arn": self.role_arn})

    def _role(self) -> aws.iam.Role:
        args = self._args
        role = aws.iam.Role(
            self._name,
            name=sagemaker_role(args.owned.environment, args.region, args.endpoint),
            assume_role_policy=assumed_by("sagemaker.amazonaws.com"),
            tags=args.owned.tags(self._endpoint),
            opts=self._own,
        )
        found = pulumi.Output.all(args.bucket_arn, args.key_arn, args.account)
        aws.iam.RolePolicy(
            self._name,
            role=role.id,
            policy=found.apply(lambda f: execution_policy(f[0], f[1], place=f"{args.region}:{f[2]}", owned=args.owned)),
            opts=self._own,
        )
        return role

    def _autoscaling(self, slot: str) -> None:
        args, name = self._args, f"{self._name}-{slot}"
        target = aws.appautoscaling.Target(
            name,
            service_namespace="sagemaker",
            resource_id=f"endpoint/{self._endpoint}/variant/{slot}",
            scalable_dimension="sagemaker:variant:DesiredInstanceCount",
            min_capacity=max(1, args.spec.replicas.min),
            max_capacity=args.spec.replicas.max,
            tags=args.owned.tags(name),
            opts=self._own,
        )
        aws.appautoscaling.Policy(
            name,
            policy_type="TargetTrackingScaling",
            service_namespace=target.service_namespace,
            resource_id=target.resource_id,
            scalable_dimension=target.scalable_dimension,
            target_tracking_scaling_policy_configuration={
                "target_value": INVOCATIONS_PER_INSTANCE,
                "predefined_metric_specification": {"predefined_metric_type": "SageMakerVariantInvocationsPerInstance"},
                "scale_in_cooldown": 600,
                "scale_out_cooldown": 60,
            },
            opts=self._own,
        )

    def _alarms(self, slot: str) -> None:
        args, slo = self._args, self._args.spec.slo
        share = slo.error_rate or args.alarms.error_rate
        # CloudWatch knows the model's whole latency, in microseconds, not the time to the first token.
        latency_us = 10_000 * (slo.ttft_p95_ms or args.alarms.ttft_p95_ms)
        dimensions = {"EndpointName": self._endpoint, "VariantName": slot}
        self._alarm(slot, "errors", "Invocation5XXErrors", dimensions, threshold=share, statistic="Average")
        self._alarm(slot, "latency", "ModelLatency", dimensions, threshold=latency_us, percentile="p95")

    def _alarm(
        self,
        slot: str,
        kind: str,
        metric: str,
        dimensions: dict[str, str],
        *,
        threshold: float,
        statistic: str | None = None,
        percentile: str | None = None,
    ) -> None:
        name = f"{self._name}-{slot}-{kind}"
        aws.cloudwatch.MetricAlarm(
            name,
            alarm_description=f"{self._endpoint}/{slot}: {metric} above {threshold:g}",
            namespace="AWS/SageMaker",
            metric_name=metric,
            dimensions=dimensions,
            statistic=statistic,
            extended_statistic=percentile,
            period=PERIOD_S,
            evaluation_periods=5,
            datapoints_to_alarm=3,
            comparison_operator="GreaterThanThreshold",
            threshold=threshold,
            # A variant without traffic sends nothing, and nothing is wrong with it.
            treat_missing_data="notBreaching",
            alarm_actions=[self._args.topic_arn],
            ok_actions=[self._args.topic_arn],
            tags=self._args.owned.tags(name),
            opts=self._own,
        )


def execution_policy(bucket_arn: str, key_arn: str, *, place: str, owned: Owned) -> str:
    """Return a variant's policy: it reads models and our images, and writes its own logs. `place` is REGION:ACCOUNT."""
    images = f"arn:aws:ecr:{place}:repository/{image_repository(owned.environment, '*')}"
    logs = f"arn:aws:logs:{place}:log-group:/aws/sagemaker/Endpoints/{sagemaker_endpoint(owned.environment, '*')}"
    pull = ["ecr:BatchCheckLayerAvailability", "ecr:BatchGetImage", "ecr:GetDownloadUrlForLayer"]
    return policy(
        Grant(["s3:ListBucket", "s3:GetBucketLocation"], [bucket_arn]),
        Grant(["s3:GetObject", "s3:GetObjectVersion"], [f"{bucket_arn}/*"]),
        Grant(["kms:Decrypt"], [key_arn]),
        Grant(pull, [images]),
        Grant(["ecr:GetAuthorizationToken", "cloudwatch:PutMetricData"], ["*"]),
        Grant(["logs:CreateLogGroup", "logs:CreateLogStream", "logs:PutLogEvents"], [logs]),
    )
