module sluice.test/engines/crds

go 1.26.6

require (
	github.com/cert-manager/cert-manager v1.18.2
	github.com/envoyproxy/gateway v1.9.0
	github.com/kedacore/keda/v2 v2.17.0
	github.com/prometheus-operator/prometheus-operator v0.85.0
	sigs.k8s.io/gateway-api v1.6.1
)
