"""The image repositories of one environment, copied to its other regions, and the caches of charts' images.

Run by `pulumi up -s ENVIRONMENT` in this folder, before any image is named in the environment file or pulled by a node.
"""

import pulumi
import pulumi_aws as aws

from components.declared import Declared, declared
from components.image_cache import ImageCache, ImageCacheArgs
from components.model_store import Images, ImagesArgs
from environments.errors import SluiceError
from environments.names import cluster_name

OURS = ("controller", "mlflow", "triton", "vllm")


def main() -> None:
    """Load the environment of the stack's name and make it; a wrong file is an error before anything is created."""
    try:
        found = declared(pulumi.get_stack())
    except SluiceError as error:
        raise pulumi.RunError(f"\n{error}") from None
    build(found)


def build(found: Declared) -> None:
    """Make a repository for each of our images, export where to push them, and make each cluster's cache."""
    provider = aws.Provider(f"aws-{found.primary}", region=found.primary)
    account = aws.get_caller_identity_output(opts=pulumi.InvokeOptions(provider=provider)).account_id
    args = ImagesArgs(
        images=OURS,
        account=account,
        copies=[region for region in found.regions if region != found.primary],
        deletion_protection=found.infrastructure.deletion_protection,
        owned=found.owned,
    )
    images = Images(f"sluice-{found.environment}", args, pulumi.ResourceOptions(provider=provider))
    pulumi.export("images", images.urls)
    for region in found.clusters if found.upstreams else ():
        here = provider if region == found.primary else aws.Provider(f"aws-{region}", region=region)
        cache = ImageCacheArgs(region, account, found.upstreams, found.owned)
        ImageCache(f"{cluster_name(found.environment, region)}-cache", cache, pulumi.ResourceOptions(provider=here))
