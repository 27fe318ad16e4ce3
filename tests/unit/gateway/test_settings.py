import pytest
from pydantic import ValidationError

from services.gateway.settings import GatewaySettings


@pytest.mark.parametrize("host", ["127.0.0.1", "127.1.2.3", "::1", "localhost"])
def test_without_authentication_the_loopback_interface_is_allowed(host: str) -> None:
    assert GatewaySettings(host=host).auth == "off"


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.1.10", "example.org", ""])
def test_without_authentication_no_other_interface_is_allowed(host: str) -> None:
    with pytest.raises(ValidationError, match="loopback") as caught:
        GatewaySettings(host=host)
    assert caught.value.errors()[0]["loc"] == ("auth",)


def test_an_authentication_that_does_not_exist_is_refused() -> None:
    with pytest.raises(ValidationError):
        GatewaySettings.model_validate({"auth": "password"})
