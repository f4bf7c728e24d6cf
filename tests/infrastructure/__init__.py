"""Tests on the real Pulumi engine and a real Kubernetes control plane."""
