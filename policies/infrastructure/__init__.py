"""Rules over Pulumi resources, one file an area. Pure; `policies.catalog` collects their policies."""
