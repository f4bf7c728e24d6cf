"""Charts' images in ECR: rules that make it copy each from its maker when a node first pulls it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import pulumi
import pulumi_aws as aws

from components.iam import assumed_by
from components.model_store import keep_newest
from components.rights import Place, cache_maker_policy
from components.tags import Owned
from environments.errors import SluiceError
from environments.names import cache_prefix
from environments.upstreams import Upstream


@dataclass(frozen=True)
class ImageCacheArgs:
    """The region, and the registries that are copied from, each with the name of the secret that signs in there."""

    region: str
    account: pulumi.Input[str]
    upstreams: Mapping[Upstream, str | None]
    owned: Owned


class ImageCache(pulumi.ComponentResource):
    """A region's copies of images that others make.

    Costs 0.10 USD a GB and month, and no traffic from the internet after the first pull. Protects by: nodes that start
    while a maker's registry is away or counts pulls, tags that never move once they are copied, encryption with KMS, a
    lifecycle that keeps the newest 50, and a role that can make repositories of these names alone.

    Source: Amazon ECR user guide, "Repository creation templates", and "Sync an upstream registry": "Turning on image
    tag immutability for repositories using a pull through cache rule will prevent Amazon ECR from updating images using
    the same tag".
    """

    def __init__(self, name: str, args: ImageCacheArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("sluice:state:ImageCache", name, None, opts)
        self._name, self._args = name, args
        self._own = pulumi.ResourceOptions(parent=self)
        self._prefixes = {found: cache_prefix(args.owned.environment, found.name) for found in args.upstreams}
        role, rights = self._maker()
        for upstream, secret in args.upstreams.items():
            template = self._template(upstream, role, rights)
            self._rule(upstream, secret, template)
        self.register_outputs({"prefixes": list(self._prefixes.values())})

    def _maker(self) -> tuple[aws.iam.Role, aws.iam.RolePolicy]:
        """Make the role with which ECR makes repositories: with KMS or tags in a template it needs one of ours."""
        args = self._args
        role = aws.iam.Role(
            self._name, assume_role_policy=assumed_by("ecr.amazonaws.com"), tags=args.owned.tags(), opts=self._own
        )
        prefixes = list(self._prefixes.values())
        rights = pulumi.Output.from_input(args.account).apply(
            lambda account: cache_maker_policy(Place(args.region, account, ""), prefixes)
        )
        return role, aws.iam.RolePolicy(self._name, role=role.id, policy=rights, opts=self._own)

    def _template(
        self, upstream: Upstream, role: aws.iam.Role, rights: aws.iam.RolePolicy
    ) -> aws.ecr.RepositoryCreationTemplate:
        return aws.ecr.RepositoryCreationTemplate(
            f"{self._name}-{upstream.name}",
            prefix=self._prefixes[upstream],
            applied_fors=["PULL_THROUGH_CACHE"],
            description=f"Copies of images of {upstream.host}",
            custom_role_arn=role.arn,
            image_tag_mutability="IMMUTABLE",
            encryption_configurations=[{"encryption_type": "KMS"}],
            lifecycle_policy=keep_newest(),
            resource_tags=self._args.owned.tags(),
            opts=pulumi.ResourceOptions(parent=self, depends_on=[rights]),
        )

    def _rule(self, upstream: Upstream, secret: str | None, template: aws.ecr.RepositoryCreationTemplate) -> None:
        """Make the rule after its template: a pull in between would make a repository without any of it."""
        aws.ecr.PullThroughCacheRule(
            f"{self._name}-{upstream.name}",
            ecr_repository_prefix=self._prefixes[upstream],
            upstream_registry_url=upstream.url,
            credential_arn=self._sign_in(secret) if secret else None,
            opts=pulumi.ResourceOptions(parent=self, depends_on=[template]),
        )

    def _sign_in(self, secret: str) -> str:
        """Return the ARN of a secret that people made, which ends in letters that AWS drew.

        Raises:
            RunError: `INFRA-010` it cannot be read; nothing of the cache has been made then.
        """
        try:
            return aws.secretsmanager.get_secret(name=secret, opts=pulumi.InvokeOptions(parent=self)).arn
        except Exception as error:  # noqa: BLE001 - Pulumi raises no narrower one when a provider refuses a question
            found = SluiceError(
                "INFRA-010",
                where=f"secret {secret} in {self._args.region}",
                what=f"the sign-in of a registry cannot be read: {error}",
                why="ECR copies nothing from this registry without one, and reads it in each region by itself",
                do="make it, in every region with a cluster; docs/adopt.md, step 3, has the command",
            )
            raise pulumi.RunError(f"\n{found}") from None
