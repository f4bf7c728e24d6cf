module sluice.test/engines/charts

go 1.26.6

require (
	github.com/aws/karpenter-provider-aws v1.14.0
	github.com/cert-manager/cert-manager v1.21.2
	github.com/envoyproxy/gateway v1.9.0
	github.com/external-secrets/external-secrets v1.3.2
	sigs.k8s.io/external-dns v0.22.0
)
