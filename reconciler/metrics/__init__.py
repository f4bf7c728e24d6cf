"""Where business metrics come from: Prometheus and plain HTTP."""
