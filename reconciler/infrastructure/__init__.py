"""The adapter to infrastructure: Pulumi, by its Automation API."""
