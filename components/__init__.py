"""Pulumi components: one piece of the platform a file. Imports `environments` and Pulumi; `stacks` composes them."""
