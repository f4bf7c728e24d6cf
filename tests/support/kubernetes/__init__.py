"""A real Kubernetes control plane for tests, on loopback, and the few calls that tests and the provider make of it."""
