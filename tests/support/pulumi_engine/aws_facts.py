"""What AWS answers that is worth imitating, as data: ids, ARNs, computed outputs, what can never be changed in place.

`{…}` is filled from a resource's inputs, its `region`, `account`, `id`, and `hex8`, `hex17`, `hex32` of a digest.
Pure. Called by `aws_outputs` and `aws_provider`.
Source: the service authorization reference (ARN formats) and each resource's documented attributes.
"""

from __future__ import annotations

from typing import Any

ACCOUNT = "123456789012"
# Whoever runs `pulumi up` in the tests: the role that environment files name as administrator.
CALLER = f"arn:aws:sts::{ACCOUNT}:assumed-role/ml-platform-admin/tests"

# Types whose id AWS draws: a prefix and 17 hexadecimal digits.
PREFIXES = {
    "aws:ec2/vpc:Vpc": "vpc",
    "aws:ec2/subnet:Subnet": "subnet",
    "aws:ec2/securityGroup:SecurityGroup": "sg",
    "aws:ec2/defaultSecurityGroup:DefaultSecurityGroup": "sg",
    "aws:ec2/internetGateway:InternetGateway": "igw",
    "aws:ec2/natGateway:NatGateway": "nat",
    "aws:ec2/routeTable:RouteTable": "rtb",
    "aws:ec2/routeTableAssociation:RouteTableAssociation": "rtbassoc",
    "aws:ec2/eip:Eip": "eipalloc",
    "aws:ec2/launchTemplate:LaunchTemplate": "lt",
    "aws:ec2/vpcEndpoint:VpcEndpoint": "vpce",
    "aws:ec2/flowLog:FlowLog": "fl",
    "aws:ec2/capacityReservation:CapacityReservation": "cr",
    "aws:ec2/networkAcl:NetworkAcl": "acl",
    "aws:ec2/instance:Instance": "i",
    "aws:ec2/route:Route": "r",
    "aws:ec2/securityGroupRule:SecurityGroupRule": "sgrule",
    "aws:ec2/vpcPeeringConnection:VpcPeeringConnection": "pcx",
    "aws:vpc/securityGroupIngressRule:SecurityGroupIngressRule": "sgr",
    "aws:vpc/securityGroupEgressRule:SecurityGroupEgressRule": "sgr",
    "aws:eks/podIdentityAssociation:PodIdentityAssociation": "a",
}

# Types whose id follows from their inputs, so that a second one of that name is refused, as AWS does.
NAMED = {
    "aws:autoscaling/group:Group": "{name}",
    "aws:appautoscaling/target:Target": "{resourceId}/{scalableDimension}",
    "aws:appautoscaling/policy:Policy": "{name}/{resourceId}",
    "aws:budgets/budget:Budget": "{account}:{name}",
    "aws:cloudwatch/eventTarget:EventTarget": "{rule}-{arn}",
    "aws:ec2/placementGroup:PlacementGroup": "{name}",
    "aws:elasticache/replicationGroup:ReplicationGroup": "{replicationGroupId}",
    "aws:elasticache/subnetGroup:SubnetGroup": "{name}",
    "aws:cloudwatch/eventRule:EventRule": "{name}",
    "aws:cloudwatch/logGroup:LogGroup": "{name}",
    "aws:cloudwatch/metricAlarm:MetricAlarm": "{name}",
    "aws:cloudwatch/dashboard:Dashboard": "{dashboardName}",
    "aws:ecr/lifecyclePolicy:LifecyclePolicy": "{repository}",
    "aws:ecr/pullThroughCacheRule:PullThroughCacheRule": "{ecrRepositoryPrefix}",
    "aws:ecr/repository:Repository": "{name}",
    "aws:ecr/repositoryCreationTemplate:RepositoryCreationTemplate": "{prefix}",
    "aws:ecr/repositoryPolicy:RepositoryPolicy": "{repository}",
    "aws:eks/accessEntry:AccessEntry": "{clusterName}:{principalArn}",
    "aws:eks/accessPolicyAssociation:AccessPolicyAssociation": "{clusterName}#{principalArn}#{policyArn}",
    "aws:eks/addon:Addon": "{clusterName}:{addonName}",
    "aws:eks/cluster:Cluster": "{name}",
    "aws:eks/nodeGroup:NodeGroup": "{clusterName}:{nodeGroupName}",
    "aws:iam/instanceProfile:InstanceProfile": "{name}",
    "aws:iam/policy:Policy": "arn:aws:iam::{account}:policy/{name}",
    "aws:iam/role:Role": "{name}",
    "aws:iam/rolePolicy:RolePolicy": "{role}:{name}",
    "aws:iam/rolePolicyAttachment:RolePolicyAttachment": "{role}-{policyArn}",
    "aws:kms/alias:Alias": "{name}",
    "aws:rds/instance:Instance": "db-{identifier}",
    "aws:rds/parameterGroup:ParameterGroup": "{name}",
    "aws:rds/subnetGroup:SubnetGroup": "{name}",
    "aws:s3/bucket:Bucket": "{bucket}",
    "aws:sagemaker/endpoint:Endpoint": "{name}",
    "aws:sagemaker/endpointConfiguration:EndpointConfiguration": "{name}",
    "aws:sagemaker/model:Model": "{name}",
    "aws:secretsmanager/secret:Secret": "arn:aws:secretsmanager:{region}:{account}:secret:{name}",
    "aws:sns/topic:Topic": "arn:aws:sns:{region}:{account}:{name}",
    "aws:sqs/queue:Queue": "https://sqs.{region}.amazonaws.com/{account}/{name}",
    "aws:ssm/parameter:Parameter": "{name}",
}

# Types that exist once in the account, whichever region made them.
GLOBAL = ("aws:iam/", "aws:route53/", "aws:budgets/", "aws:costexplorer/", "aws:cloudfront/", "aws:s3/bucket:Bucket")

# Inputs that are given a name drawn from the resource's when a program gives none.
AUTONAMED = (
    "name",
    "bucket",
    "identifier",
    "nodeGroupName",
    "clusterIdentifier",
    "policyName",
    "dashboardName",
)

ARNS = {
    "aws:cloudwatch/logGroup:LogGroup": "arn:aws:logs:{region}:{account}:log-group:{name}",
    "aws:cloudwatch/metricAlarm:MetricAlarm": "arn:aws:cloudwatch:{region}:{account}:alarm:{name}",
    "aws:ecr/repository:Repository": "arn:aws:ecr:{region}:{account}:repository/{name}",
    "aws:eks/addon:Addon": "arn:aws:eks:{region}:{account}:addon/{clusterName}/{addonName}/{hex8}",
    "aws:eks/cluster:Cluster": "arn:aws:eks:{region}:{account}:cluster/{name}",
    "aws:eks/nodeGroup:NodeGroup": "arn:aws:eks:{region}:{account}:nodegroup/{clusterName}/{nodeGroupName}/{hex8}",
    "aws:iam/instanceProfile:InstanceProfile": "arn:aws:iam::{account}:instance-profile/{name}",
    "aws:iam/policy:Policy": "arn:aws:iam::{account}:policy/{name}",
    "aws:iam/role:Role": "arn:aws:iam::{account}:role/{name}",
    "aws:kms/alias:Alias": "arn:aws:kms:{region}:{account}:{name}",
    "aws:kms/key:Key": "arn:aws:kms:{region}:{account}:key/{id}",
    "aws:kms/replicaKey:ReplicaKey": "arn:aws:kms:{region}:{account}:key/{id}",
    "aws:rds/instance:Instance": "arn:aws:rds:{region}:{account}:db:{identifier}",
    "aws:rds/subnetGroup:SubnetGroup": "arn:aws:rds:{region}:{account}:subgrp:{name}",
    "aws:s3/bucket:Bucket": "arn:aws:s3:::{bucket}",
    "aws:cloudwatch/eventRule:EventRule": "arn:aws:events:{region}:{account}:rule/{name}",
    "aws:ec2/instance:Instance": "arn:aws:ec2:{region}:{account}:instance/{id}",
    "aws:sagemaker/endpoint:Endpoint": "arn:aws:sagemaker:{region}:{account}:endpoint/{name}",
    "aws:sqs/queue:Queue": "arn:aws:sqs:{region}:{account}:{name}",
    "aws:ssm/parameter:Parameter": "arn:aws:ssm:{region}:{account}:parameter/{name}",
}

# Outputs that programs read and that no type hint explains.
OUTPUTS: dict[str, dict[str, Any]] = {
    "aws:acm/certificate:Certificate": {
        "domainValidationOptions": [
            {
                "domainName": "{domainName}",
                "resourceRecordName": "_{hex8}.{domainName}.",
                "resourceRecordType": "CNAME",
                "resourceRecordValue": "_{hex17}.acm-validations.aws.",
            }
        ],
        "status": "ISSUED",
    },
    "aws:ec2/eip:Eip": {"publicIp": "198.51.100.{octet}", "allocationId": "{id}"},
    "aws:ec2/launchTemplate:LaunchTemplate": {"latestVersion": 1, "defaultVersion": 1},
    "aws:ec2/natGateway:NatGateway": {"publicIp": "198.51.100.{octet}", "privateIp": "10.0.0.{octet}"},
    "aws:ec2/vpc:Vpc": {"defaultSecurityGroupId": "sg-{hex17}", "mainRouteTableId": "rtb-{hex17}"},
    "aws:ecr/repository:Repository": {
        "registryId": "{account}",
        "repositoryUrl": "{account}.dkr.ecr.{region}.amazonaws.com/{name}",
    },
    "aws:eks/cluster:Cluster": {
        "certificateAuthority": {"data": "LS0tLS1CRUdJTiBDRVJUSUZJQ0FURS0tLS0tCg=="},
        "endpoint": "https://{hex32}.gr7.{region}.eks.amazonaws.com",
        "identities": [{"oidcs": [{"issuer": "https://oidc.eks.{region}.amazonaws.com/id/{hex32}"}]}],
        "platformVersion": "eks.1",
        "status": "ACTIVE",
        "vpcConfig": {"clusterSecurityGroupId": "sg-{hex17}"},
    },
    "aws:eks/nodeGroup:NodeGroup": {
        "resources": [{"autoscalingGroups": [{"name": "eks-{nodeGroupName}-{hex8}"}]}],
        "status": "ACTIVE",
    },
    "aws:iam/role:Role": {"uniqueId": "AROA{hex17}"},
    "aws:kms/key:Key": {"keyId": "{id}"},
    "aws:rds/instance:Instance": {
        "address": "{identifier}.{hex8}.{region}.rds.amazonaws.com",
        "endpoint": "{identifier}.{hex8}.{region}.rds.amazonaws.com:5432",
        "masterUserSecrets": [
            {
                "kmsKeyId": "alias/aws/secretsmanager",
                "secretArn": "arn:aws:secretsmanager:{region}:{account}:secret:rds!{identifier}",
                "secretStatus": "active",
            }
        ],
        "port": 5432,
        "resourceId": "{id}",
        "status": "available",
    },
    "aws:elasticache/replicationGroup:ReplicationGroup": {
        "primaryEndpointAddress": "master.{replicationGroupId}.{hex8}.cache.amazonaws.com"
    },
    "aws:s3/bucket:Bucket": {
        "bucketDomainName": "{bucket}.s3.amazonaws.com",
        "bucketRegionalDomainName": "{bucket}.s3.{region}.amazonaws.com",
    },
    "aws:sagemaker/endpoint:Endpoint": {"status": "InService"},
}

# Inputs that only a new resource can take, beside the inputs an id is made of.
IMMUTABLE: dict[str, tuple[str, ...]] = {
    "aws:ec2/capacityReservation:CapacityReservation": ("instanceType", "availabilityZone", "instancePlatform"),
    "aws:ec2/flowLog:FlowLog": ("vpcId", "trafficType", "logDestination", "logDestinationType"),
    "aws:ec2/natGateway:NatGateway": ("subnetId", "allocationId", "connectivityType"),
    "aws:ec2/routeTable:RouteTable": ("vpcId",),
    "aws:ec2/securityGroup:SecurityGroup": ("name", "vpcId", "description"),
    "aws:ec2/subnet:Subnet": ("vpcId", "cidrBlock", "availabilityZone"),
    "aws:ec2/vpc:Vpc": ("cidrBlock", "instanceTenancy"),
    "aws:ec2/vpcEndpoint:VpcEndpoint": ("vpcId", "serviceName", "vpcEndpointType"),
    "aws:ecr/pullThroughCacheRule:PullThroughCacheRule": ("upstreamRegistryUrl", "upstreamRepositoryPrefix"),
    "aws:ecr/repository:Repository": ("encryptionConfigurations",),
    "aws:eks/cluster:Cluster": ("roleArn", "encryptionConfig", "kubernetesNetworkConfig"),
    "aws:eks/nodeGroup:NodeGroup": ("amiType", "capacityType", "diskSize", "instanceTypes", "nodeRoleArn", "subnetIds"),
    "aws:eks/podIdentityAssociation:PodIdentityAssociation": ("clusterName", "namespace", "serviceAccount"),
    "aws:rds/instance:Instance": ("engine", "kmsKeyId", "storageEncrypted", "username", "availabilityZone", "dbName"),
    "aws:sagemaker/model:Model": ("primaryContainer", "containers", "executionRoleArn", "vpcConfig"),
}
