"""The commands: click functions that compose ports, call the reconciler and hand results to `reconciler.output`."""
