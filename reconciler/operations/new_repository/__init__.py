"""A repository of one's own: what `sluice init` writes, and what a newer version would write otherwise."""
