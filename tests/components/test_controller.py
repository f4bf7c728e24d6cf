"""Controllers: two of them, locked down, with rights on what they write and nothing else."""

from __future__ import annotations

import json

from components.cluster import kubeconfig
from components.controller import Controller, ControllerArgs, merged_kubeconfig
from components.controller_rights import ControllerRights, ControllerRightsArgs
from components.controller_role import ControllerRole, ControllerRoleArgs
from environments.names import CONTROLLER_GROUP, CONTROLLER_NAME, PROXY_NAMESPACE, SYSTEM_NAMESPACE, store_secret
from tests.components.mocked import ACCOUNT, OWNED, Recorded, make

IMAGE = f"{ACCOUNT}.dkr.ecr.eu-central-1.amazonaws.com/controller@sha256:{'ab' * 32}"


def own(name: str) -> str:
    return kubeconfig(name, "eu-central-1", endpoint=f"https://{name}", authority="Q0E=")


def controller(file: str = "environment: prod\n", *, version: int = 1) -> Recorded:
    args = ControllerArgs(
        image=IMAGE,
        replicas=2,
        file=file,
        kubeconfigs={"prod-us": own("us"), "prod-eu": own("eu")},
        store_secret="sluice/prod/sluice/url",
        password_version=version,
        mlflow="http://mlflow:5000",
        owned=OWNED,
    )
    return make(lambda: Controller("controller", args))


def test_two_controllers_run_the_environment_of_the_stack() -> None:
    made = controller().one("Deployment")
    container = made.at("spec.template.spec.containers.0")
    assert made.at("spec.replicas") == 2
    assert (container["image"], container["args"]) == (IMAGE, ["controller", "prod"])
    assert container["securityContext"]["readOnlyRootFilesystem"] is True
    assert container["securityContext"]["capabilities"] == {"drop": ["ALL"]}


def test_the_stores_address_comes_from_a_secret_and_from_nowhere_else() -> None:
    made = controller()
    assert not made.of("Secret")
    fetched = made.one("ExternalSecret")
    assert fetched.at("spec.target.name") == store_secret()
    assert fetched.at("spec.data.0") == {"secretKey": "url", "remoteRef": {"key": "sluice/prod/sluice/url"}}
    environment = {e["name"]: e for e in made.one("Deployment").at("spec.template.spec.containers.0.env")}
    assert environment["SLUICE_STORE"]["valueFrom"]["secretKeyRef"] == {"name": store_secret(), "key": "url"}
    assert "postgresql" not in json.dumps([m.inputs for m in made.made if m.type.endswith(("ConfigMap", "Deployment"))])


def test_a_changed_environment_file_restarts_the_controllers_and_an_unchanged_one_does_not() -> None:
    def template(file: str) -> object:
        return controller(file).one("Deployment").at("spec.template.metadata.annotations")

    assert template("environment: prod\n") == template("environment: prod\n")
    assert template("environment: prod\n") != template("environment: prod\nowner: x\n")


def test_a_new_password_restarts_what_read_the_old_one() -> None:
    path = "spec.template.metadata.annotations"
    first, second = (controller(version=version).one("Deployment").at(path) for version in (1, 2))
    assert first != second


def test_the_role_is_bound_before_the_first_controller_starts() -> None:
    assert not controller().of("PodIdentityAssociation")
    made = make(lambda: ControllerRole("role", ControllerRoleArgs([], [], ACCOUNT, OWNED)).let_in("cluster"))
    bound = made.one("PodIdentityAssociation").inputs
    assert (bound["namespace"], bound["serviceAccount"]) == (SYSTEM_NAMESPACE, CONTROLLER_NAME)


def test_every_cluster_has_the_context_that_the_environment_file_names() -> None:
    merged = json.loads(merged_kubeconfig({"prod-us": own("us"), "prod-eu": own("eu")}))
    assert [c["name"] for c in merged["contexts"]] == ["prod-eu", "prod-us"]
    servers = {c["name"]: c["cluster"]["server"] for c in merged["clusters"]}
    assert servers == {"prod-eu": "https://eu", "prod-us": "https://us"}


def rights() -> Recorded:
    args = ControllerRightsArgs({"support": "support-prod", "search": "search-prod"}, OWNED)
    return make(lambda: ControllerRights("rights", args))


def test_controllers_write_slots_routes_and_flags_in_the_teams_namespaces() -> None:
    for role in rights().of("kubernetes:rbac.authorization.k8s.io/v1:Role"):
        written = {r for rule in role.inputs["rules"] if "patch" in rule["verbs"] for r in rule["resources"]}
        teams = role.at("metadata.namespace") != PROXY_NAMESPACE
        # An autoscaler is lent for a rollout's time, and given back.
        lent = {"scaledobjects", "horizontalpodautoscalers"}
        ours = {"deployments", "leaderworkersets", "httproutes", "configmaps", "featureflags"} | lent
        assert written == (ours if teams else set())


def test_of_the_gateways_proxies_only_statistics_are_asked() -> None:
    roles = rights().of("kubernetes:rbac.authorization.k8s.io/v1:Role")
    (proxies,) = [role for role in roles if role.at("metadata.namespace") == PROXY_NAMESPACE]
    allowed = {(r, verb) for rule in proxies.inputs["rules"] for r in rule["resources"] for verb in rule["verbs"]}
    assert allowed == {("pods", "get"), ("pods", "list"), ("pods", "watch"), ("pods/proxy", "get")}


def test_controllers_read_no_secret_and_hold_no_wildcard() -> None:
    made = rights()
    for role in (*made.of("Role"), *made.of("ClusterRole")):
        for rule in role.inputs["rules"]:
            assert "secrets" not in rule["resources"]
            assert "*" not in (*rule["resources"], *rule["verbs"], *rule["apiGroups"])


def test_cluster_wide_rights_are_for_reading() -> None:
    verbs = {v for rule in rights().one("ClusterRole").inputs["rules"] for v in rule["verbs"]}
    assert verbs == {"get", "list", "watch"}


def test_rights_belong_to_the_group_that_eks_gives_to_the_role() -> None:
    subjects = [b.inputs["subjects"] for b in (*rights().of("RoleBinding"), *rights().of("ClusterRoleBinding"))]
    assert {s["name"] for found in subjects for s in found} == {CONTROLLER_GROUP}
    assert all(b.at("roleRef.name") == CONTROLLER_NAME for b in rights().of("RoleBinding"))


def test_in_aws_controllers_touch_this_environments_endpoints_alone() -> None:
    args = ControllerRoleArgs(["eu-central-1"], ["ap-northeast-1"], ACCOUNT, OWNED)
    policy = json.loads(make(lambda: ControllerRole("role", args)).one("RolePolicy").inputs["policy"])
    for statement in policy["Statement"]:
        if statement["Resource"] == ["*"]:
            assert all(a.startswith("sagemaker:List") for a in statement["Action"])
        else:
            assert all("sluice-prod" in resource for resource in statement["Resource"])
    assert not [a for s in policy["Statement"] for a in s["Action"] if a.startswith("iam:") and a != "iam:PassRole"]
