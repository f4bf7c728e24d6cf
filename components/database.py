"""A PostgreSQL server in a region's network, with a password that nobody knows and nobody types.

Its whole address is kept in Secrets Manager, where External Secrets reads it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import pulumi
import pulumi_aws as aws

from components.tags import Owned
from environments.infrastructure import DatabaseSpec
from environments.names import secret_name

PORT = 5432


@dataclass(frozen=True)
class DatabaseArgs:
    """Where it stands, who may reach it (`client_group_id`), how large it is and how it is kept."""

    database: str
    spec: DatabaseSpec
    vpc_id: pulumi.Input[str]
    subnet_ids: pulumi.Input[Sequence[str]]
    client_group_id: pulumi.Input[str]
    backup_retention_days: int
    deletion_protection: bool
    owned: Owned


class Database(pulumi.ComponentResource):
    """RDS PostgreSQL. `url` is the address that SQLAlchemy takes, a secret: it holds the password.

    `secret` is the name under which Secrets Manager has it. A higher `password_version` draws a new password.

    Costs one instance, two with `multi_az`, and storage that grows to four times its first size. Protects by: a
    private address, one group of clients, TLS only, encryption with a key of its own, daily backups with
    point-in-time recovery, a final snapshot, and deletion protection where the environment wants it.
    """

    def __init__(self, name: str, args: DatabaseArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("sluice:state:Database", name, None, opts)
        self._name, self._args = name, args
        self._own = pulumi.ResourceOptions(parent=self)
        self.key = aws.kms.Key(
            name,
            description=f"Database {name}",
            enable_key_rotation=True,
            deletion_window_in_days=30,
            tags=args.owned.tags(name),
            opts=pulumi.ResourceOptions(parent=self, protect=args.deletion_protection),
        )
        password = self._password()
        self.server = self._server(password)
        self.url: pulumi.Output[str] = pulumi.Output.secret(
            pulumi.Output.concat(
                f"postgresql+psycopg://{args.database}:",
                password,
                "@",
                self.server.address,
                f":{PORT}/{args.database}?sslmode=require",
            )
        )
        self.secret = secret_name(args.owned.environment, args.database, "url")
        self._kept("url", self.secret, self.url)
        self.register_outputs({"address": self.server.address, "url": self.url})

    def _password(self) -> pulumi.Output[str]:
        """Return a password that is drawn once a version: later runs draw another, and the secret ignores it."""
        drawn = aws.secretsmanager.get_random_password_output(
            password_length=40, exclude_punctuation=True, opts=pulumi.InvokeOptions(parent=self)
        )
        name = secret_name(self._args.owned.environment, self._args.database, "password")
        kept: pulumi.Output[str] = pulumi.Output.secret(drawn.random_password).apply(str)
        version = self._kept(f"v{self._args.spec.password_version}", name, kept, drawn_once=True)
        return version.secret_string.apply(lambda text: text or "")

    def _kept(
        self, suffix: str, name: str, value: pulumi.Output[str], *, drawn_once: bool = False
    ) -> aws.secretsmanager.SecretVersion:
        args = self._args
        resource = f"{self._name}-{name.rpartition('/')[2]}"
        secret = aws.secretsmanager.Secret(
            resource,
            name=name,
            kms_key_id=self.key.arn,
            # Deleted at once where the environment may be deleted: the name is free again for the next `up`.
            recovery_window_in_days=30 if args.deletion_protection else 0,
            tags=args.owned.tags(resource),
            opts=self._own,
        )
        ignored = ["secretString"] if drawn_once else []
        return aws.secretsmanager.SecretVersion(
            f"{resource}-{suffix}",
            secret_id=secret.id,
            secret_string=value,
            opts=pulumi.ResourceOptions(parent=self, ignore_changes=ignored),
        )

    def _server(self, password: pulumi.Output[str]) -> aws.rds.Instance:
        args, tags = self._args, self._args.owned.tags(self._name)
        subnets = aws.rds.SubnetGroup(self._name, subnet_ids=args.subnet_ids, tags=tags, opts=self._own)
        parameters = aws.rds.ParameterGroup(
            self._name,
            family="postgres17",
            parameters=[{"name": "rds.force_ssl", "value": "1"}],
            tags=tags,
            opts=self._own,
        )
        return aws.rds.Instance(
            self._name,
            engine="postgres",
            engine_version="17",
            instance_class=args.spec.instance,
            allocated_storage=args.spec.storage_gib,
            max_allocated_storage=4 * args.spec.storage_gib,
            storage_type="gp3",
            storage_encrypted=True,
            kms_key_id=self.key.arn,
            db_name=args.database,
            username=args.database,
            password=password,
            db_subnet_group_name=subnets.name,
            parameter_group_name=parameters.name,
            vpc_security_group_ids=[self._group(tags).id],
            publicly_accessible=False,
            multi_az=args.spec.multi_az,
            backup_retention_period=args.backup_retention_days,
            copy_tags_to_snapshot=True,
            deletion_protection=args.deletion_protection,
            skip_final_snapshot=not args.deletion_protection,
            final_snapshot_identifier=self._final_snapshot() if args.deletion_protection else None,
            auto_minor_version_upgrade=True,
            enabled_cloudwatch_logs_exports=["postgresql", "upgrade"],
            performance_insights_enabled=True,
            tags=tags,
            opts=pulumi.ResourceOptions(parent=self, protect=args.deletion_protection),
        )

    def _final_snapshot(self) -> pulumi.Output[str]:
        """Return a name that no earlier database of this name has used: a second one of it would be refused."""
        return self.key.key_id.apply(lambda drawn: f"{self._name}-final-{drawn[:8]}")

    def _group(self, tags: dict[str, str]) -> aws.ec2.SecurityGroup:
        return aws.ec2.SecurityGroup(
            self._name,
            vpc_id=self._args.vpc_id,
            description=f"Clients of database {self._name}",
            ingress=[
                {
                    "protocol": "tcp",
                    "from_port": PORT,
                    "to_port": PORT,
                    "security_groups": [self._args.client_group_id],
                }
            ],
            tags=tags,
            opts=self._own,
        )
