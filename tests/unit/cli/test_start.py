"""What has to be so before anything is started."""

import pytest

from services.cli.errors import UsageProblem
from services.cli.start import require_protection


@pytest.mark.parametrize("auth", ["jwt", "keys", "keys,jwt"])
def test_with_authentication_every_address_is_served(auth: str) -> None:
    require_protection(auth, "0.0.0.0")


@pytest.mark.parametrize("host", ["0.0.0.0", "192.0.2.1", "::", "example.org"])
def test_without_authentication_an_address_that_others_reach_is_refused_with_what_to_do(host: str) -> None:
    require_protection("off", "127.0.0.1")
    with pytest.raises(UsageProblem, match=r"rag keys create --data DIR.*RAG_AUTH=keys"):
        require_protection("off", host)
