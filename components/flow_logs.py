"""A network's flow logs, as Parquet files in a bucket of their own."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pulumi
import pulumi_aws as aws

from components.iam import document
from components.keys import delivery_key_policy
from components.tags import Owned
from environments.names import flow_log_bucket


@dataclass(frozen=True)
class FlowLogsArgs:
    """The network, where it stands and how long its logs are kept."""

    vpc_id: pulumi.Input[str]
    region: str
    account: pulumi.Input[str]
    retention_days: int
    deletion_protection: bool
    owned: Owned


class FlowLogs(pulumi.ComponentResource):
    """Who talked to whom, accepted or refused.

    Costs storage, about a tenth of the same lines in CloudWatch Logs. Protects by: all traffic, hourly files that
    Athena reads, an end after the retention, and a bucket that nobody but AWS's log delivery writes.
    """

    def __init__(self, name: str, args: FlowLogsArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("sluice:network:FlowLogs", name, None, opts)
        self._name = f"{name}-flow"
        self._own = pulumi.ResourceOptions(parent=self)
        bucket, needs = self._bucket(args)
        aws.ec2.FlowLog(
            self._name,
            vpc_id=args.vpc_id,
            traffic_type="ALL",
            log_destination_type="s3",
            log_destination=bucket.arn,
            destination_options={
                "file_format": "parquet",
                "hive_compatible_partitions": True,
                "per_hour_partition": True,
            },
            tags=args.owned.tags(self._name),
            opts=pulumi.ResourceOptions(parent=self, depends_on=[needs]),
        )
        self.register_outputs({"bucket": bucket.bucket})

    def _bucket(self, args: FlowLogsArgs) -> tuple[aws.s3.Bucket, pulumi.Resource]:
        account = pulumi.Output.from_input(args.account)
        bucket = aws.s3.Bucket(
            self._name,
            bucket=account.apply(lambda number: flow_log_bucket(args.owned.environment, args.region, number)),
            force_destroy=not args.deletion_protection,
            tags=args.owned.tags(self._name),
            opts=self._own,
        )
        aws.s3.BucketServerSideEncryptionConfiguration(
            self._name,
            bucket=bucket.id,
            rules=[
                {
                    "apply_server_side_encryption_by_default": {
                        "sse_algorithm": "aws:kms",
                        "kms_master_key_id": self._key(args, account).arn,
                    },
                    "bucket_key_enabled": True,
                }
            ],
            opts=self._own,
        )
        self._rules(bucket, args.retention_days)
        closed = aws.s3.BucketPublicAccessBlock(
            self._name,
            bucket=bucket.id,
            block_public_acls=True,
            block_public_policy=True,
            ignore_public_acls=True,
            restrict_public_buckets=True,
            opts=self._own,
        )
        policy = aws.s3.BucketPolicy(
            self._name,
            bucket=bucket.id,
            policy=pulumi.Output.all(bucket.arn, account).apply(lambda found: delivery_policy(*found)),
            opts=pulumi.ResourceOptions(parent=self, depends_on=[closed]),
        )
        return bucket, policy

    def _key(self, args: FlowLogsArgs, account: pulumi.Output[str]) -> aws.kms.Key:
        return aws.kms.Key(
            self._name,
            description=f"Flow logs of {self._name}",
            enable_key_rotation=True,
            deletion_window_in_days=30,
            policy=account.apply(delivery_key_policy),
            tags=args.owned.tags(self._name),
            opts=self._own,
        )

    def _rules(self, bucket: aws.s3.Bucket, days: int) -> None:
        aws.s3.BucketVersioning(
            self._name, bucket=bucket.id, versioning_configuration={"status": "Enabled"}, opts=self._own
        )
        ended = {"id": "ended", "status": "Enabled", "filter": {"prefix": ""}, "expiration": {"days": days}}
        rule: Any = {**ended, "noncurrent_version_expiration": {"noncurrent_days": 1}}
        aws.s3.BucketLifecycleConfiguration(self._name, bucket=bucket.id, rules=[rule], opts=self._own)


def delivery_policy(bucket_arn: str, account: str) -> str:
    """Return the bucket's policy. Source: Amazon VPC, "Publish flow logs to Amazon S3", bucket permissions."""
    ours = {"aws:SourceAccount": account}
    writer = {"Service": "delivery.logs.amazonaws.com"}
    write: Mapping[str, Any] = {
        "Effect": "Allow",
        "Principal": writer,
        "Action": "s3:PutObject",
        "Resource": f"{bucket_arn}/AWSLogs/*",
        "Condition": {"StringEquals": {**ours, "s3:x-amz-acl": "bucket-owner-full-control"}},
    }
    look = {"Action": ["s3:GetBucketAcl", "s3:ListBucket"], "Resource": bucket_arn}
    see = {"Effect": "Allow", "Principal": writer, **look, "Condition": {"StringEquals": ours}}
    plain = {"Bool": {"aws:SecureTransport": "false"}}
    both = [bucket_arn, f"{bucket_arn}/*"]
    refuse = {"Effect": "Deny", "Principal": "*", "Action": "s3:*", "Resource": both, "Condition": plain}
    return document([write, see, refuse])
