"""Options for what a component makes: its parent, and whatever the component itself was told to wait for."""

from __future__ import annotations

import pulumi


def children_of(component: pulumi.ComponentResource, opts: pulumi.ResourceOptions | None) -> pulumi.ResourceOptions:
    """Return options for a component's children.

    `depends_on` of a component is not handed down by Pulumi: without this its children would start at once.
    """
    needs = opts.depends_on if opts is not None else None
    return pulumi.ResourceOptions(parent=component, depends_on=needs)


def waiting(own: pulumi.ResourceOptions, *needs: pulumi.Resource, **more: object) -> pulumi.ResourceOptions:
    """Return a component's own options with more to wait for; `more` are further options."""
    return pulumi.ResourceOptions.merge(own, pulumi.ResourceOptions(depends_on=list(needs), **more))  # type: ignore[arg-type]
