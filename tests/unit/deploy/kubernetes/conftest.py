import pytest

from tests.unit.deploy.kubernetes.rendered import Renderer


@pytest.fixture(scope="session")
def rendered(tmp_path_factory: pytest.TempPathFactory) -> Renderer:
    return Renderer(tmp_path_factory.mktemp("kubernetes"))
