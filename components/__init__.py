"""Pulumi components: one piece of an environment a file; the stacks compose them."""
