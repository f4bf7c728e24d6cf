"""What the real Pulumi CLI needs to run a stack in a test: a language host and two strict providers."""
