"""The platform `kubernetes`: slots are Deployments and weights an HTTPRoute, in clusters that the stacks make."""
