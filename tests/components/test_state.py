"""Databases, buckets, images and MLflow: encrypted, backed up, private, and kept when production says so."""

from __future__ import annotations

import json

import pytest

from components.alert_topics import AlertTopics, AlertTopicsArgs
from components.anomalies import Anomalies, AnomalyArgs
from components.budget import Budget, BudgetArgs
from components.database import Database, DatabaseArgs
from components.model_registry import ModelRegistry, ModelRegistryArgs
from components.model_store import Images, ImagesArgs, ModelBucket, ModelBucketArgs, Replication, ReplicationArgs
from components.rights import artifacts_policy
from environments.infrastructure import DatabaseSpec, TeamSpec
from environments.names import model_bucket
from tests.components.mocked import ACCOUNT, OWNED, SUPPORT, Recorded, make, secret_value

DIGEST = "sha256:" + "ab" * 32


def database(*, keep: bool = True) -> Recorded:
    args = DatabaseArgs("sluice", DatabaseSpec(), "vpc-1", ["subnet-1"], "sg-cluster", 14, keep, OWNED)
    return make(lambda: Database("db", args))


@pytest.mark.parametrize("keep", [True, False])
def test_deletion_is_as_hard_as_the_environment_wants(keep: bool) -> None:
    server = database(keep=keep).one("aws:rds/instance:Instance")
    assert server.inputs["deletionProtection"] is keep
    assert server.inputs["skipFinalSnapshot"] is not keep
    assert ("finalSnapshotIdentifier" in server.inputs) is keep


def test_a_database_is_encrypted_backed_up_and_reached_by_the_cluster_alone() -> None:
    made = database()
    server = made.one("aws:rds/instance:Instance")
    assert server.inputs["storageEncrypted"] is True
    assert server.inputs["publiclyAccessible"] is False
    assert server.inputs["backupRetentionPeriod"] == 14
    assert server.inputs["multiAz"] is True
    rule = made.one("aws:ec2/securityGroup:SecurityGroup").at("ingress.0")
    assert rule["securityGroups"] == ["sg-cluster"]
    assert "cidrBlocks" not in rule


def test_the_password_is_drawn_and_kept_as_a_secret() -> None:
    made = database()
    kept = {m.name: secret_value(m.inputs["secretString"]) for m in made.of("SecretVersion")}
    assert kept["db-password-v1"] == "drawn"
    assert kept["db-url-url"].startswith("postgresql+psycopg://sluice:drawn@db.example:5432/sluice")
    assert secret_value(made.one("aws:rds/instance:Instance").inputs["password"]) == "drawn"


def test_a_higher_version_draws_a_new_password() -> None:
    args = DatabaseArgs("sluice", DatabaseSpec(password_version=2), "vpc-1", ["s"], "sg", 14, True, OWNED)
    names = {m.name for m in make(lambda: Database("db", args)).of("SecretVersion")}
    assert names == {"db-password-v2", "db-url-url"}


def test_the_last_snapshot_of_one_database_does_not_stand_in_the_way_of_the_next_ones() -> None:
    assert database().one("aws:rds/instance:Instance").inputs["finalSnapshotIdentifier"] == "db-final-0123abcd"


def bucket() -> Recorded:
    return make(lambda: ModelBucket("models", ModelBucketArgs("eu-central-1", ACCOUNT, True, OWNED)))


def test_a_model_bucket_is_private_versioned_and_encrypted() -> None:
    made = bucket()
    assert made.one("Bucket").inputs["bucket"] == model_bucket("prod", "eu-central-1", ACCOUNT)
    assert made.one("BucketVersioning").at("versioningConfiguration.status") == "Enabled"
    rule = made.one("BucketServerSideEncryptionConfiguration").at("rules.0.applyServerSideEncryptionByDefault")
    assert rule["sseAlgorithm"] == "aws:kms"
    block = made.one("BucketPublicAccessBlock").inputs
    assert all(block[k] for k in ("blockPublicAcls", "blockPublicPolicy", "ignorePublicAcls", "restrictPublicBuckets"))
    assert made.one("Bucket").inputs["forceDestroy"] is False
    statement = json.loads(made.one("BucketPolicy").inputs["policy"])["Statement"][0]
    assert (statement["Effect"], statement["Condition"]) == ("Deny", {"Bool": {"aws:SecureTransport": "false"}})


def test_models_are_replicated_to_every_other_region_under_its_own_key() -> None:
    def program() -> None:
        home, *others = [
            ModelBucket(f"models-{r}", ModelBucketArgs(r, ACCOUNT, True, OWNED)) for r in ("home", "us", "ap")
        ]
        Replication("copies", ReplicationArgs(home, dict(zip(("us", "ap"), others, strict=True)), OWNED))

    rules = make(program).one("BucketReplicationConfig").inputs["rules"]
    assert [r["id"] for r in rules] == ["us", "ap"]
    keys = [r["destination"]["encryptionConfiguration"]["replicaKmsKeyId"] for r in rules]
    assert len(set(keys)) == 2
    assert len({r["priority"] for r in rules}) == 2


def test_images_are_immutable_scanned_encrypted_and_copied() -> None:
    args = ImagesArgs(["vllm", "mlflow"], ACCOUNT, ["us-east-1"], True, OWNED)
    made = make(lambda: Images("images", args))
    for repository in made.of("Repository"):
        assert repository.inputs["imageTagMutability"] == "IMMUTABLE"
        assert repository.at("imageScanningConfiguration.scanOnPush") is True
        assert repository.at("encryptionConfigurations.0.encryptionType") == "KMS"
    assert len(made.of("LifecyclePolicy")) == 2
    rules = made.one("ReplicationConfiguration").at("replicationConfiguration.rules.0")
    assert rules["destinations"] == [{"region": "us-east-1", "registryId": ACCOUNT}]


def registry(*, version: int = 1) -> Recorded:
    args = ModelRegistryArgs(
        image=f"{ACCOUNT}.dkr.ecr.eu-central-1.amazonaws.com/mlflow@{DIGEST}",
        replicas=2,
        bucket="models",
        store_secret="sluice/prod/mlflow/url",
        password_version=version,
        hosts=["mlflow.models.example.com"],
        owned=OWNED,
    )
    return make(lambda: ModelRegistry("mlflow", args))


def test_mlflow_runs_locked_down_with_its_store_from_a_secret() -> None:
    made = registry()
    pod = made.one("Deployment").at("spec.template.spec")
    assert pod["securityContext"]["runAsNonRoot"] is True
    container = pod["containers"][0]
    assert container["securityContext"]["readOnlyRootFilesystem"] is True
    assert container["securityContext"]["allowPrivilegeEscalation"] is False
    assert {"cpu", "memory"} <= set(container["resources"]["limits"])
    store = next(e for e in container["env"] if e["name"] == "MLFLOW_BACKEND_STORE_URI")
    assert "valueFrom" in store
    assert made.of("PodDisruptionBudget")
    assert made.one("ExternalSecret").at("spec.data.0.remoteRef.key") == "sluice/prod/mlflow/url"


def test_mlflow_starts_with_what_its_image_holds_and_answers_to_its_own_names() -> None:
    arguments = registry().one("Deployment").at("spec.template.spec.containers.0.args")
    flags = dict(a.removeprefix("--").partition("=")[::2] for a in arguments)
    assert "expose-prometheus" not in flags
    allowed = flags["allowed-hosts"].split(",")
    assert {"mlflow.mlflow.svc:5000", "mlflow.models.example.com"} <= set(allowed)
    assert "*" not in allowed


def test_mlflow_writes_below_one_prefix_of_one_bucket() -> None:
    grants = json.loads(artifacts_policy("arn:bucket", "arn:key"))["Statement"]
    written = [s["Resource"] for s in grants if "s3:PutObject" in s["Action"]]
    assert written == [["arn:bucket/mlflow/*"]]


def test_a_team_hears_of_its_budget_before_and_after_it_is_spent() -> None:
    spec = TeamSpec(budget_usd_per_month=900, anomaly_usd=50)
    made = make(lambda: Budget("support", BudgetArgs(spec, "arn:topic", SUPPORT)))
    budget = made.one("aws:budgets/budget:Budget")
    assert budget.inputs["limitAmount"] == "900"
    notices = [(n["notificationType"], n["threshold"]) for n in budget.inputs["notifications"]]
    assert notices == [("ACTUAL", 80), ("ACTUAL", 100), ("FORECASTED", 100)]
    assert {a["tags"]["key"]: a["tags"]["values"] for a in budget.at("filterExpression.ands")} == {
        "environment": ["prod"],
        "team": ["support"],
    }
    assert not made.of("AnomalyMonitor")


def test_a_team_without_a_budget_hears_of_nothing_that_its_account_cannot_have() -> None:
    made = make(lambda: Budget("support", BudgetArgs(TeamSpec(), "arn:topic", SUPPORT)))
    assert not made.of("aws:budgets/budget:Budget")
    assert not made.of("AnomalyMonitor")


def test_anomalies_by_tag_are_for_those_who_ask_for_them() -> None:
    made = make(lambda: Budget("support", BudgetArgs(TeamSpec(anomaly_usd=50), "arn:topic", SUPPORT, True)))
    assert made.one("AnomalyMonitor").inputs["monitorType"] == "CUSTOM"
    assert made.one("AnomalySubscription").at("thresholdExpression.dimension.values") == ["50"]


def test_anomalies_of_the_whole_account_need_no_management_account() -> None:
    made = make(lambda: Anomalies("all", AnomalyArgs("arn:topic", 100, OWNED))).one("AnomalyMonitor").inputs
    assert (made["monitorType"], made["monitorDimension"]) == ("DIMENSIONAL", "SERVICE")


def test_topics_are_encrypted_and_take_alarms_of_their_own_account_only() -> None:
    teams = {"support": TeamSpec(alert_email="a@example.com"), "search": TeamSpec()}
    made = make(lambda: AlertTopics("alerts", AlertTopicsArgs(teams, ACCOUNT, OWNED)))
    assert all(t.inputs["kmsMasterKeyId"] for t in made.of("Topic"))
    assert [s.inputs["endpoint"] for s in made.of("TopicSubscription")] == ["a@example.com"]
    for policy in made.of("TopicPolicy"):
        statement = json.loads(policy.inputs["policy"])["Statement"][0]
        assert statement["Condition"] == {"StringEquals": {"aws:SourceAccount": ACCOUNT}}
