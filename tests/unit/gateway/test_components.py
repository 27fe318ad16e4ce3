import pytest

from contracts.health import HealthReply
from services.gateway.parts import EXPECTED_SERVICES, by_service


def reply(service: str, instance: str = "1", **fields: bool) -> HealthReply:
    states = {"ready": True, "live": True, **fields}
    return HealthReply(service=service, instance=instance, version="1", ready=states["ready"], live=states["live"])


def test_a_silent_service_is_listed_with_no_replicas() -> None:
    services = by_service([reply("parser")])
    assert list(services)[:6] == list(EXPECTED_SERVICES)
    assert services["embedder"].replicas == []
    assert (services["parser"].ready, services["parser"].live) == (1, 1)


def test_every_replica_is_listed_and_counted() -> None:
    services = by_service([reply("parser", "2", ready=False), reply("parser", "1"), reply("parser", "3", live=False)])
    assert [replica.instance for replica in services["parser"].replicas] == ["1", "2", "3"]
    assert (services["parser"].ready, services["parser"].live) == (2, 2)


def test_a_service_that_nobody_expected_is_listed_too() -> None:
    assert by_service([reply("console")])["console"].ready == 1


@pytest.mark.parametrize("name", EXPECTED_SERVICES)
def test_details_are_passed_on(name: str) -> None:
    told = HealthReply(service=name, instance="1", version="1", ready=True, live=True, details={"x": {"status": "ok"}})
    assert by_service([told])[name].replicas[0].details == {"x": {"status": "ok"}}
