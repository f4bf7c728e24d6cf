"""Where models and images lie: a versioned bucket in each region, fed from the home region, and image repositories."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import pulumi
import pulumi_aws as aws

from components.iam import Grant, assumed_by, document, policy
from components.tags import Owned
from environments.names import image_repository, model_bucket

NONCURRENT_DAYS = 90
IMAGES_KEPT = 50


@dataclass(frozen=True)
class ModelBucketArgs:
    """Where, in which account (its number is part of the name), and whether it may be deleted with models in it."""

    region: str
    account: pulumi.Input[str]
    deletion_protection: bool
    owned: Owned


class ModelBucket(pulumi.ComponentResource):
    """A region's copy of the models.

    Costs storage and, where it is replicated to, each byte's way between regions once. Protects by: versions, which
    make `s3://…@VERSION` immutable for 90 days after a delete; a key of its own; no public access; TLS only.
    """

    def __init__(self, name: str, args: ModelBucketArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("sluice:state:ModelBucket", name, None, opts)
        own = pulumi.ResourceOptions(parent=self)
        tags = args.owned.tags(name)
        self.key = aws.kms.Key(
            name,
            description=f"Models in {args.region}",
            enable_key_rotation=True,
            deletion_window_in_days=30,
            tags=tags,
            opts=pulumi.ResourceOptions(parent=self, protect=args.deletion_protection),
        )
        self.bucket = aws.s3.Bucket(
            name,
            bucket=pulumi.Output.from_input(args.account).apply(
                lambda account: model_bucket(args.owned.environment, args.region, account)
            ),
            force_destroy=not args.deletion_protection,
            tags=tags,
            opts=pulumi.ResourceOptions(parent=self, protect=args.deletion_protection),
        )
        self.versioning = self._versions(name, own)
        self._encrypted(name, own)
        self._private(name, own)
        self._lifecycle(name, own)
        self.name: pulumi.Output[str] = self.bucket.bucket
        self.register_outputs({"bucket": self.name, "arn": self.bucket.arn, "key_arn": self.key.arn})

    def _versions(self, name: str, own: pulumi.ResourceOptions) -> aws.s3.BucketVersioning:
        return aws.s3.BucketVersioning(
            name, bucket=self.bucket.id, versioning_configuration={"status": "Enabled"}, opts=own
        )

    def _encrypted(self, name: str, own: pulumi.ResourceOptions) -> None:
        aws.s3.BucketServerSideEncryptionConfiguration(
            name,
            bucket=self.bucket.id,
            rules=[
                {
                    "apply_server_side_encryption_by_default": {
                        "sse_algorithm": "aws:kms",
                        "kms_master_key_id": self.key.arn,
                    },
                    "bucket_key_enabled": True,
                }
            ],
            opts=own,
        )

    def _private(self, name: str, own: pulumi.ResourceOptions) -> None:
        closed = aws.s3.BucketPublicAccessBlock(
            name,
            bucket=self.bucket.id,
            block_public_acls=True,
            block_public_policy=True,
            ignore_public_acls=True,
            restrict_public_buckets=True,
            opts=own,
        )
        aws.s3.BucketPolicy(
            name,
            bucket=self.bucket.id,
            policy=self.bucket.arn.apply(tls_only),
            opts=pulumi.ResourceOptions(parent=self, depends_on=[closed]),
        )

    def _lifecycle(self, name: str, own: pulumi.ResourceOptions) -> None:
        aws.s3.BucketLifecycleConfiguration(
            name,
            bucket=self.bucket.id,
            rules=[
                {
                    "id": "old-versions",
                    "status": "Enabled",
                    "filter": {"prefix": ""},
                    "noncurrent_version_expiration": {"noncurrent_days": NONCURRENT_DAYS},
                    "abort_incomplete_multipart_upload": {"days_after_initiation": 7},
                }
            ],
            opts=own,
        )


def tls_only(bucket_arn: str) -> str:
    """Return a bucket policy that refuses every request without TLS."""
    statement = {
        "Sid": "TlsOnly",
        "Effect": "Deny",
        "Principal": "*",
        "Action": "s3:*",
        "Resource": [bucket_arn, f"{bucket_arn}/*"],
        "Condition": {"Bool": {"aws:SecureTransport": "false"}},
    }
    return document([statement])


@dataclass(frozen=True)
class ReplicationArgs:
    """From the home region's bucket to every other region's, by region."""

    home: ModelBucket
    others: Mapping[str, ModelBucket]
    owned: Owned


class Replication(pulumi.ComponentResource):
    """Copies every model from the home region to the others, so that no slot loads across an ocean.

    Costs storage again in each region. Protects by: a role that can read the one bucket and write the others, no more.
    """

    def __init__(self, name: str, args: ReplicationArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("sluice:state:Replication", name, None, opts)
        own = pulumi.ResourceOptions(parent=self)
        role = aws.iam.Role(
            name, assume_role_policy=assumed_by("s3.amazonaws.com"), tags=args.owned.tags(name), opts=own
        )
        others = list(args.others.values())
        arns = pulumi.Output.all(args.home.bucket.arn, args.home.key.arn, *[b.bucket.arn for b in others])
        keys = pulumi.Output.all(*[b.key.arn for b in others])
        policy = aws.iam.RolePolicy(
            name,
            role=role.id,
            policy=pulumi.Output.all(arns, keys).apply(lambda found: _replicate(found[0], found[1])),
            opts=own,
        )
        aws.s3.BucketReplicationConfig(
            name,
            bucket=args.home.bucket.id,
            role=role.arn,
            rules=[_rule(region, i, bucket) for i, (region, bucket) in enumerate(args.others.items())],
            opts=pulumi.ResourceOptions(
                parent=self, depends_on=[policy, args.home.versioning, *[b.versioning for b in others]]
            ),
        )
        self.register_outputs({"role_arn": role.arn})


def _rule(region: str, priority: int, bucket: ModelBucket) -> aws.s3.BucketReplicationConfigRuleArgsDict:
    return aws.s3.BucketReplicationConfigRuleArgsDict(
        id=region,
        priority=priority,
        status="Enabled",
        filter={"prefix": ""},
        delete_marker_replication={"status": "Disabled"},
        source_selection_criteria={"sse_kms_encrypted_objects": {"status": "Enabled"}},
        destination={
            "bucket": bucket.bucket.arn,
            "encryption_configuration": {"replica_kms_key_id": bucket.key.arn},
        },
    )


def _replicate(arns: Sequence[str], keys: Sequence[str]) -> str:
    home, home_key, *others = arns
    read = ["s3:GetObjectVersionForReplication", "s3:GetObjectVersionAcl", "s3:GetObjectVersionTagging"]
    return policy(
        Grant(["s3:GetReplicationConfiguration", "s3:ListBucket"], [home]),
        Grant(read, [f"{home}/*"]),
        Grant(["s3:ReplicateObject", "s3:ReplicateTags"], [f"{other}/*" for other in others]),
        Grant(["kms:Decrypt"], [home_key]),
        Grant(["kms:Encrypt", "kms:GenerateDataKey"], keys),
    )


@dataclass(frozen=True)
class ImagesArgs:
    """Which of our images get a repository, and the regions that get copies."""

    images: Sequence[str]
    account: pulumi.Input[str]
    copies: Sequence[str]
    deletion_protection: bool
    owned: Owned


class Images(pulumi.ComponentResource):
    """ECR repositories, copied to every region.

    Costs 0.10 USD a GB and month in each region. Protects by: tags that never move, a scan of every push, encryption
    with KMS, and a lifecycle that keeps the newest 50 images.
    """

    def __init__(self, name: str, args: ImagesArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("sluice:state:Images", name, None, opts)
        own = pulumi.ResourceOptions(parent=self)
        self.repositories = {image: self._repository(name, image, args, own) for image in args.images}
        if args.copies:
            aws.ecr.ReplicationConfiguration(
                name,
                replication_configuration={
                    "rules": [
                        {
                            "destinations": [{"region": r, "registry_id": args.account} for r in args.copies],
                            "repository_filters": [
                                {
                                    "filter": image_repository(args.owned.environment, ""),
                                    "filter_type": "PREFIX_MATCH",
                                }
                            ],
                        }
                    ]
                },
                opts=own,
            )
        self.urls = {image: repository.repository_url for image, repository in self.repositories.items()}
        self.register_outputs({"urls": self.urls})

    def _repository(self, name: str, image: str, args: ImagesArgs, own: pulumi.ResourceOptions) -> aws.ecr.Repository:
        repository = aws.ecr.Repository(
            f"{name}-{image}",
            name=image_repository(args.owned.environment, image),
            image_tag_mutability="IMMUTABLE",
            image_scanning_configuration={"scan_on_push": True},
            encryption_configurations=[{"encryption_type": "KMS"}],
            force_delete=not args.deletion_protection,
            tags=args.owned.tags(image),
            opts=own,
        )
        aws.ecr.LifecyclePolicy(f"{name}-{image}", repository=repository.name, policy=keep_newest(), opts=own)
        return repository


def keep_newest() -> str:
    """Return the lifecycle policy of a repository: old images go when there are many newer ones."""
    rule = {
        "rulePriority": 1,
        "description": f"Keep the newest {IMAGES_KEPT}",
        "selection": {"tagStatus": "any", "countType": "imageCountMoreThan", "countNumber": IMAGES_KEPT},
        "action": {"type": "expire"},
    }
    return json.dumps({"rules": [rule]})
