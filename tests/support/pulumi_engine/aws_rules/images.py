"""Images: names of repositories, and the rules and templates of ECR's cache of other registries."""

from __future__ import annotations

import re

from tests.support.pulumi_engine.aws_rules.rule import Asked, Rules

RULES = Rules()
REPOSITORY, SECRET = "aws:ecr/repository:Repository", "aws:secretsmanager/secret:Secret"
CACHE_RULE = "aws:ecr/pullThroughCacheRule:PullThroughCacheRule"
TEMPLATE = "aws:ecr/repositoryCreationTemplate:RepositoryCreationTemplate"
_REPOSITORY = re.compile(r"(?:[a-z0-9]+(?:[._-][a-z0-9]+)*/)*[a-z0-9]+(?:[._-][a-z0-9]+)*")
_SECRET = re.compile(r"arn:aws(-\w+)*:secretsmanager:[a-zA-Z0-9-:]+:secret:ecr-pullthroughcache/[a-zA-Z0-9/_+=.@-]+")
# By whether a sign-in is needed. Source: user guide, "Sync an upstream registry with an Amazon ECR private registry".
_OPEN = re.compile(r"public\.ecr\.aws|registry\.k8s\.io|quay\.io|\d{12}\.dkr\.ecr\.[a-z0-9-]+\.amazonaws\.com")
_CLOSED = re.compile(r"registry-1\.docker\.io|ghcr\.io|registry\.gitlab\.com|cgr\.dev|[a-z0-9]+\.azurecr\.io")
_API = "https://docs.aws.amazon.com/AmazonECR/latest/APIReference/API_CreatePullThroughCacheRule.html"
_GUIDE = "https://docs.aws.amazon.com/AmazonECR/latest/userguide"


@RULES(REPOSITORY, "ECR API reference, CreateRepository: repositoryName")
def repository_name(asked: Asked) -> str | None:
    """Refuse a name that ECR does not take."""
    if not _REPOSITORY.fullmatch(asked.text("name")):
        return f"InvalidParameterException: Invalid parameter at 'repositoryName': {asked.text('name')}"
    return None


@RULES(CACHE_RULE, f"{_API}: ecrRepositoryPrefix has 2 to 30 characters of a repository's name")
def cache_prefix(asked: Asked) -> str | None:
    """Refuse a prefix that is no beginning of a repository's name, or is too long."""
    prefix = asked.text("ecrRepositoryPrefix")
    if prefix == "ROOT" or (2 <= len(prefix) <= 30 and _REPOSITORY.fullmatch(prefix.removesuffix("/"))):
        return None
    return f"InvalidParameterException: Invalid parameter at 'ecrRepositoryPrefix': {prefix}"


@RULES(CACHE_RULE, f"{_API}: PullThroughCacheRuleAlreadyExistsException, for a private registry, which is a region's")
def cache_prefix_twice(asked: Asked) -> str | None:
    """Refuse a second rule for one prefix."""
    prefix = asked.text("ecrRepositoryPrefix")
    if any(other.inputs.get("ecrRepositoryPrefix") == prefix for other in asked.here(CACHE_RULE)):
        return f"PullThroughCacheRuleAlreadyExistsException: A rule with the prefix {prefix} already exists"
    return None


@RULES(CACHE_RULE, f"{_API}: UnsupportedUpstreamRegistryException; {_GUIDE}/pull-through-cache.html lists them")
def cache_upstream(asked: Asked) -> str | None:
    """Refuse a registry that ECR does not copy from."""
    url = asked.text("upstreamRegistryUrl")
    if _OPEN.fullmatch(url) or _CLOSED.fullmatch(url):
        return None
    return f"UnsupportedUpstreamRegistryException: The specified upstream registry isn't supported: {url}"


@RULES(CACHE_RULE, f"{_GUIDE}/pull-through-cache.html: registries that require authentication")
def cache_sign_in(asked: Asked) -> str | None:
    """Refuse a registry that wants a sign-in without one."""
    url = asked.text("upstreamRegistryUrl")
    if _CLOSED.fullmatch(url) and not asked.inputs.get("credentialArn"):
        return f"InvalidParameterException: credentialArn is required for the upstream registry {url}"
    return None


@RULES(CACHE_RULE, f"{_API}: pattern of credentialArn; {_GUIDE}/pull-through-cache-creating-secret.html")
def cache_secret_name(asked: Asked) -> str | None:
    """Refuse a secret that ECR's service role may not read: the name begins with another word."""
    arn = asked.text("credentialArn")
    if arn and not _SECRET.fullmatch(arn):
        return f"InvalidParameterException: Invalid parameter at 'credentialArn': {arn}"
    return None


@RULES(CACHE_RULE, f"{_API}: SecretNotFoundException; {_GUIDE}/pull-through-cache-creating-rule.html: its region")
def cache_secret_missing(asked: Asked) -> str | None:
    """Refuse a secret that is not there, or is in another region than the rule."""
    arn = asked.text("credentialArn")
    if arn and all(found.outputs.get("arn") != arn for found in asked.here(SECRET)):
        return f"SecretNotFoundException: The ARN of the secret specified in the rule was not found: {arn}"
    return None


@RULES(
    TEMPLATE,
    "ECR API reference, CreateRepositoryCreationTemplate: prefix, 1 to 256 characters or ROOT",
)
def template_prefix(asked: Asked) -> str | None:
    """Refuse a prefix that is no beginning of a repository's name."""
    prefix = asked.text("prefix")
    if prefix == "ROOT" or (len(prefix) <= 256 and _REPOSITORY.fullmatch(prefix.removesuffix("/"))):
        return None
    return f"InvalidParameterException: Invalid parameter at 'prefix': {prefix}"


@RULES(TEMPLATE, "ECR API reference, CreateRepositoryCreationTemplate: TemplateAlreadyExistsException")
def template_twice(asked: Asked) -> str | None:
    """Refuse a second template for one prefix."""
    prefix = asked.text("prefix")
    if any(other.inputs.get("prefix") == prefix for other in asked.here(TEMPLATE)):
        return f"TemplateAlreadyExistsException: A repository creation template for {prefix} already exists"
    return None
