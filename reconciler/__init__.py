"""The reconciler: compares declared releases with what is live, plans the difference and promotes it by canary."""
