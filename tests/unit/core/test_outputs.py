"""Where clients call endpoints, on each platform."""

from __future__ import annotations

from typing import Any

from environments.names import Address
from environments.spec import EnvironmentSpec
from reconciler.core.outputs import outputs_of, urls_of
from tests.unit.policies.fixtures import shipped


def test_a_local_endpoint_has_the_gateways_address() -> None:
    found = {str(each.address): each.url for each in outputs_of(shipped("local"))}
    assert found == {"local/local/chat": "http://127.0.0.1:18080/chat/v1"}
    assert urls_of(shipped("local")) == {("local", "chat"): "http://127.0.0.1:18080/chat/v1"}


def test_other_platforms_have_the_domain_or_say_how_they_are_called() -> None:
    data: dict[str, Any] = shipped("prod").model_dump(mode="python")
    data["infrastructure"]["domain"] = "models.example.com"
    named = {str(each.address): each for each in outputs_of(EnvironmentSpec.model_validate(data))}
    assert named["prod/eu-central-1/chat"].url == "https://models.example.com/chat/v1"
    data["infrastructure"]["domain"] = None
    plain = {str(each.address): each for each in outputs_of(EnvironmentSpec.model_validate(data))}
    assert plain["prod/eu-central-1/chat"].url is None
    assert "/chat/v1" in plain["prod/eu-central-1/chat"].how
    sagemaker = [each for each in plain.values() if each.how.startswith("SageMaker endpoint sluice-prod-")]
    assert sagemaker
    assert all(each == plain[str(each.address)] and each.url is None for each in sagemaker)
    assert plain["prod/eu-central-1/chat"].address == Address("prod", "eu-central-1", "chat")
