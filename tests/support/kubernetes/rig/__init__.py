"""A cluster with traffic: a control plane, Envoy Gateway, Envoy and servers of pods in a network of their own."""
