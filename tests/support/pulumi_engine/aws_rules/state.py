"""Buckets, databases, secrets and logs: names, copies, versions and where they stand."""

from __future__ import annotations

import re

from tests.support.pulumi_engine.aws_rules.cluster import zone_of
from tests.support.pulumi_engine.aws_rules.rule import Asked, Rules

RULES = Rules()
BUCKET, VERSIONING = "aws:s3/bucket:Bucket", "aws:s3/bucketVersioning:BucketVersioning"
REPLICATION = "aws:s3/bucketReplicationConfig:BucketReplicationConfig"
DATABASE, SUBNET_GROUP = "aws:rds/instance:Instance", "aws:rds/subnetGroup:SubnetGroup"
STORE, SUBNET = "aws:elasticache/replicationGroup:ReplicationGroup", "aws:ec2/subnet:Subnet"
SECRET, LOG_GROUP = "aws:secretsmanager/secret:Secret", "aws:cloudwatch/logGroup:LogGroup"
SNAPSHOTS = "deleted snapshot"
KEEPS = {0, 1, 3, 5, 7, 14, 30, 60, 90, 120, 150, 180, 365, 400, 545, 731, 1096, 1827, 2192, 2557, 2922, 3288, 3653}
_BUCKET = re.compile(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]")
_IDENTIFIER = re.compile(r"[a-z](?:-?[a-z0-9]){0,62}")
RESERVED_USERS = {"rdsadmin", "rdstopmgr", "rdsrepladmin", "postgres_user"}
POSTGRES = {"13", "14", "15", "16", "17", "18"}


@RULES(BUCKET, "Amazon S3 user guide, bucket naming rules")
def bucket_name(asked: Asked) -> str | None:
    """Refuse a name that S3 does not take."""
    name = asked.text("bucket")
    if name and (not _BUCKET.fullmatch(name) or ".." in name or name.startswith("xn--")):
        return f"InvalidBucketName: The specified bucket is not valid: {name}"
    return None


@RULES(REPLICATION, "Amazon S3 user guide, replication requirements: versioning on both buckets")
def replication_without_versions(asked: Asked) -> str | None:
    """Refuse copies from or to a bucket that keeps no versions."""
    on = {
        v.inputs.get("bucket")
        for v in asked.cloud.resources(VERSIONING)
        if (v.inputs.get("versioningConfiguration") or {}).get("status") == "Enabled"
    }
    rules = asked.inputs.get("rules") or []
    targets = [str((rule.get("destination") or {}).get("bucket", "")).removeprefix("arn:aws:s3:::") for rule in rules]
    for bucket in (asked.text("bucket"), *targets):
        if bucket and bucket not in on:
            return f"InvalidRequest: Versioning must be 'Enabled' on the bucket {bucket}"
    return None


@RULES(DATABASE, "Amazon RDS user guide, DB instance settings: identifier and master username")
def database_name(asked: Asked) -> str | None:
    """Refuse names that RDS keeps for itself or cannot take."""
    identifier, user = asked.text("identifier"), asked.text("username")
    if identifier and not _IDENTIFIER.fullmatch(identifier):
        return f"InvalidParameterValue: The parameter DBInstanceIdentifier is not a valid identifier: {identifier}"
    if user in RESERVED_USERS or user.startswith("pg_"):
        return f"InvalidParameterValue: MasterUsername {user} cannot be used as it is a reserved word"
    return None


@RULES(DATABASE, "Amazon RDS release calendars, PostgreSQL")
def database_version(asked: Asked) -> str | None:
    """Refuse a version that RDS does not have."""
    version = asked.text("engineVersion").partition(".")[0]
    if asked.text("engine") == "postgres" and version and version not in POSTGRES:
        return f"InvalidParameterCombination: Cannot find version {version} for postgres"
    return None


@RULES(SUBNET_GROUP, "Amazon RDS user guide, DB subnet groups: at least two Availability Zones")
def database_zones(asked: Asked) -> str | None:
    """Refuse a subnet group in a single zone."""
    found = [s for identity in asked.texts("subnetIds") if (s := asked.by_id(SUBNET, identity))]
    if found and len({zone_of(subnet) for subnet in found}) < 2:
        return "DBSubnetGroupDoesNotCoverEnoughAZs: The subnet group does not cover enough Availability Zones"
    return None


@RULES(STORE, "Amazon ElastiCache user guide, automatic failover: at least one replica")
def failover_alone(asked: Asked) -> str | None:
    """Refuse a failover of a store that has no second copy."""
    if asked.inputs.get("automaticFailoverEnabled") is True and int(asked.inputs.get("numCacheClusters") or 1) < 2:
        return "InvalidParameterCombination: Must specify at least two cache clusters in order to auto failover"
    return None


@RULES(STORE, "ElastiCache API reference, CreateReplicationGroup: 40 characters")
def store_name(asked: Asked) -> str | None:
    """Refuse a name that ElastiCache does not take."""
    name = asked.text("replicationGroupId")
    if name and not re.fullmatch(r"[a-zA-Z](?:-?[a-zA-Z0-9]){0,39}", name):
        return f"InvalidParameterValue: The parameter ReplicationGroupIdentifier is not a valid identifier: {name}"
    return None


@RULES(SECRET, "Secrets Manager API reference, CreateSecret: a name that waits for its deletion is taken")
def secret_name(asked: Asked) -> str | None:
    """Refuse a second secret of one name, and letters that a name may not hold."""
    name = asked.text("name")
    if not re.fullmatch(r"[\w/+=.@-]{1,512}", name):
        return f"ValidationException: Invalid name. {name}"
    if any(other.inputs.get("name") == name for other in asked.here(SECRET)):
        return f"ResourceExistsException: The operation failed because the secret {name} already exists."
    return None


@RULES(LOG_GROUP, "CloudWatch Logs API reference, PutRetentionPolicy")
def log_retention(asked: Asked) -> str | None:
    """Refuse a number of days that CloudWatch Logs does not keep."""
    days = asked.inputs.get("retentionInDays") or 0
    if days not in KEEPS:
        return f"InvalidParameterException: retentionInDays {days} is not one of the accepted values"
    return None
