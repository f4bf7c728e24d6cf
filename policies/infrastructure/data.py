"""Policies over what is stored: encryption, public access, versions, backups. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from policies.policy import Hit, OnResource, OnStack, Policy, Resource, StackContext, levels
from policies.values import UNKNOWN, absent, at, companions, document, items, number, off, one_or_many

BUCKET = "aws:s3/bucket:Bucket"
BUCKET_POLICY = "aws:s3/bucketPolicy:BucketPolicy"
BUCKET_ACL = "aws:s3/bucketAcl:BucketAcl"
ACCESS_BLOCK = "aws:s3/bucketPublicAccessBlock:BucketPublicAccessBlock"
ENCRYPTION = "aws:s3/bucketServerSideEncryptionConfiguration:BucketServerSideEncryptionConfiguration"
VERSIONING = "aws:s3/bucketVersioning:BucketVersioning"
VOLUME = "aws:ebs/volume:Volume"
LAUNCH_TEMPLATE = "aws:ec2/launchTemplate:LaunchTemplate"
DATABASES = frozenset({"aws:rds/instance:Instance", "aws:rds/cluster:Cluster"})
REPOSITORY = "aws:ecr/repository:Repository"
TEMPLATE = "aws:ecr/repositoryCreationTemplate:RepositoryCreationTemplate"
KEY = "aws:kms/key:Key"
BLOCKS = ("blockPublicAcls", "blockPublicPolicy", "ignorePublicAcls", "restrictPublicBuckets")
PROD_BACKUP_DAYS = 7


def encrypted_disks(resource: Resource, context: StackContext) -> Iterator[str]:
    """Find disks that are readable by whoever gets hold of them."""
    if resource.type == VOLUME and off(resource.props.get("encrypted")):
        yield "the volume is not encrypted"
    for mapping in items(resource.props.get("blockDeviceMappings")):
        if at(mapping, "ebs") is not None and off(at(mapping, "ebs.encrypted")):
            yield f"the disk {at(mapping, 'deviceName')} of these machines is not encrypted"


def _buckets(resources: Sequence[Resource]) -> list[Resource]:
    return [r for r in resources if r.type == BUCKET]


def encrypted_buckets(resources: Sequence[Resource], context: StackContext) -> Iterator[Hit]:
    """Find buckets that are not encrypted with a key of ours."""
    for bucket in _buckets(resources):
        found = list(companions(bucket, resources, ENCRYPTION, "bucket"))
        rules = [rule for companion in found for rule in items(companion.props.get("rules"))]
        kinds = [at(rule, "applyServerSideEncryptionByDefault.sseAlgorithm") for rule in rules]
        if not found or (kinds and not any(kind is UNKNOWN or str(kind).startswith("aws:kms") for kind in kinds)):
            yield bucket.urn, "the bucket is not encrypted with a KMS key: whoever may read it may read everything"


def closed_buckets(resources: Sequence[Resource], context: StackContext) -> Iterator[Hit]:
    """Find buckets that one mistake would make public."""
    for bucket in _buckets(resources):
        blocks = list(companions(bucket, resources, ACCESS_BLOCK, "bucket"))
        if not blocks:
            yield bucket.urn, "the bucket has no BucketPublicAccessBlock"
        for block in blocks:
            open_ones = [key for key in BLOCKS if off(block.props.get(key))]
            if open_ones:
                yield bucket.urn, f"public access is not blocked: {', '.join(open_ones)}"


def public_grants(resource: Resource, context: StackContext) -> Iterator[str]:
    """Find grants to everybody."""
    acl = resource.props.get("acl")
    if isinstance(acl, str) and acl.startswith("public-"):
        yield f"the ACL {acl} makes the bucket public"
    if resource.type != BUCKET_POLICY:
        return
    for statement in one_or_many(document(resource.props.get("policy")).get("Statement")):
        principal = at(statement, "Principal")
        everyone = principal == "*" or (isinstance(principal, Mapping) and "*" in one_or_many(principal.get("AWS")))
        if at(statement, "Effect") == "Allow" and everyone and absent(at(statement, "Condition")):
            yield "the policy allows everybody without a condition"


def versioned_buckets(resources: Sequence[Resource], context: StackContext) -> Iterator[Hit]:
    """Find buckets whose objects can be overwritten for good."""
    for bucket in _buckets(resources):
        found = list(companions(bucket, resources, VERSIONING, "bucket"))
        status = [at(c.props, "versioningConfiguration.status") for c in found]
        if "Enabled" not in status and UNKNOWN not in status:
            yield bucket.urn, "the bucket keeps no versions: s3://…@VERSION could not be rolled back to"


def encrypted_databases(resource: Resource, context: StackContext) -> Iterator[str]:
    """Find databases whose disks and snapshots are readable."""
    if off(resource.props.get("storageEncrypted")):
        yield "storageEncrypted is not true"


def backups(resource: Resource, context: StackContext) -> Iterator[str]:
    """Find databases that could not be restored; production keeps a week."""
    least = PROD_BACKUP_DAYS if context.kind == "prod" else 1
    days = number(resource.props.get("backupRetentionPeriod"), 0)
    if days is not None and days < least:
        yield f"backups are kept for {days:g} days, fewer than {least}"


def deletion_protection(resource: Resource, context: StackContext) -> Iterator[str]:
    """Find databases that one `destroy` removes."""
    if off(resource.props.get("deletionProtection")):
        yield "deletionProtection is not true"
    if resource.props.get("skipFinalSnapshot") is True:
        yield "skipFinalSnapshot is true: nothing is left after a delete"


def public_database(resource: Resource, context: StackContext) -> Iterator[str]:
    """Find databases with an address on the internet."""
    if resource.props.get("publiclyAccessible") is True:
        yield "publiclyAccessible is true"


def one_zone(resource: Resource, context: StackContext) -> Iterator[str]:
    """Find databases that stand in a single zone."""
    if resource.type == "aws:rds/instance:Instance" and off(resource.props.get("multiAz")):
        yield "multiAz is not true: an outage of one zone stops the ledger, and with it every rollout"


def immutable_tags(resource: Resource, context: StackContext) -> Iterator[str]:
    """Find image repositories in which a tag can change its content."""
    if resource.props.get("imageTagMutability") not in ("IMMUTABLE", UNKNOWN):
        yield "imageTagMutability is not IMMUTABLE: the same tag may be another image tomorrow"


def scanned_images(resource: Resource, context: StackContext) -> Iterator[str]:
    """Find repositories whose images nobody scans."""
    if off(at(resource.props, "imageScanningConfiguration.scanOnPush")):
        yield "imageScanningConfiguration.scanOnPush is not true"


def encrypted_images(resource: Resource, context: StackContext) -> Iterator[str]:
    """Find repositories that are not encrypted with a key of ours."""
    given = resource.props.get("encryptionConfigurations")
    kinds = [at(c, "encryptionType") for c in items(given)]
    if absent(given) or any(kind is not UNKNOWN and not str(kind).startswith("KMS") for kind in kinds):
        yield "the repository is not encrypted with a KMS key"


def rotated_keys(resource: Resource, context: StackContext) -> Iterator[str]:
    """Find keys that stay the same for ever; asymmetric keys cannot rotate."""
    symmetric = resource.props.get("customerMasterKeySpec") in (None, "SYMMETRIC_DEFAULT")
    if symmetric and off(resource.props.get("enableKeyRotation")):
        yield "enableKeyRotation is not true"


STRICT = levels(dev="warn", staging="deny", prod="deny")
PROD_ONLY = levels(dev="off", staging="info", prod="deny")

POLICIES = (
    Policy(
        "ENC-001", "Disks are encrypted", "weights and prompts lie on them, and disks are reused",
        "set ebs.encrypted and a KMS key", OnResource(frozenset({VOLUME, LAUNCH_TEMPLATE}), encrypted_disks), STRICT,
    ),
    Policy(
        "ENC-002", "Keys rotate", "a key that never changes protects everything ever written with it",
        "set enableKeyRotation", OnResource(frozenset({KEY}), rotated_keys), STRICT,
    ),
    Policy(
        "S3-001", "Buckets are encrypted with a KMS key", "reading then takes a right on the key too",
        "add a BucketServerSideEncryptionConfiguration with aws:kms", OnStack(encrypted_buckets), STRICT,
    ),
    Policy(
        "S3-002", "Buckets block public access", "most leaked data sets were one ACL away from being private",
        "add a BucketPublicAccessBlock with all four switches on", OnStack(closed_buckets),
        levels(dev="deny", staging="deny", prod="deny"),
    ),
    Policy(
        "S3-003", "No grant to everybody", "a public bucket of models is a public product",
        "name the principals", OnResource(frozenset({BUCKET, BUCKET_ACL, BUCKET_POLICY}), public_grants),
        levels(dev="deny", staging="deny", prod="deny"),
    ),
    Policy(
        "S3-004", "Buckets keep versions", "a release pins an object's version and must be able to go back to it",
        "add a BucketVersioning with status Enabled", OnStack(versioned_buckets), STRICT,
    ),
    Policy(
        "RDS-001", "Databases are encrypted", "the ledger says who released what, and the store who may",
        "set storageEncrypted and a KMS key", OnResource(DATABASES, encrypted_databases), STRICT,
    ),
    Policy(
        "RDS-002", "Databases are backed up", "without the ledger nobody knows what should be running",
        "set backupRetentionPeriod", OnResource(DATABASES, backups), levels(dev="warn", staging="deny", prod="deny"),
    ),
    Policy(
        "RDS-003", "State is protected against deletion", "one `destroy` in the wrong stack takes it all",
        "set deletionProtection, not skipFinalSnapshot", OnResource(DATABASES, deletion_protection), PROD_ONLY,
    ),
    Policy(
        "RDS-004", "Databases have no public address", "the password would be the only wall",
        "set publiclyAccessible to false", OnResource(DATABASES, public_database),
        levels(dev="deny", staging="deny", prod="deny"),
    ),
    Policy(
        "RDS-005", "Databases stand in two zones", "rollouts stop when the store is away",
        "set multiAz", OnResource(DATABASES, one_zone), PROD_ONLY,
    ),
    Policy(
        "ECR-001", "Image tags are immutable", "a tag that moves is a release that nobody planned",
        "set imageTagMutability to IMMUTABLE", OnResource(frozenset({REPOSITORY, TEMPLATE}), immutable_tags), STRICT,
    ),
    Policy(
        "ECR-002", "Images are scanned", "serving stacks carry hundreds of libraries",
        "set imageScanningConfiguration.scanOnPush", OnResource(frozenset({REPOSITORY}), scanned_images), STRICT,
    ),
    Policy(
        "ECR-003", "Image repositories are encrypted with a KMS key", "images may hold licensed weights and code",
        "set encryptionConfigurations to KMS", OnResource(frozenset({REPOSITORY, TEMPLATE}), encrypted_images),
        levels(dev="info", staging="warn", prod="deny"),
    ),
)  # fmt: skip
