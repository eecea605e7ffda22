"""Every values file is rendered once, all at the same time."""

from concurrent.futures import ThreadPoolExecutor

import pytest
from support import kube_tools
from support.charts import MODES, Mode, Render, rendered


@pytest.fixture(scope="session")
def renders() -> dict[Mode, Render]:
    kube_tools.helm()  # fetched once, before many ask for it
    with ThreadPoolExecutor(4) as pool:
        return dict(zip(MODES, pool.map(rendered, MODES), strict=True))


@pytest.fixture(params=MODES, ids=str)
def render(request: pytest.FixtureRequest, renders: dict[Mode, Render]) -> Render:
    return renders[request.param]


@pytest.fixture(params=[mode for mode in MODES if mode.chart == "factory"], ids=str)
def factory(request: pytest.FixtureRequest, renders: dict[Mode, Render]) -> Render:
    return renders[request.param]


@pytest.fixture(params=[mode for mode in MODES if mode.chart == "factory-kafka"], ids=str)
def kafka(request: pytest.FixtureRequest, renders: dict[Mode, Render]) -> Render:
    return renders[request.param]


@pytest.fixture(params=[m for m in MODES if m.chart == "factory-kafka" and m.values != "second-factory"], ids=str)
def own_kafka(request: pytest.FixtureRequest, renders: dict[Mode, Render]) -> Render:
    """Where a cluster is made, too."""
    return renders[request.param]


@pytest.fixture
def plant(renders: dict[Mode, Render]) -> Render:
    """The values file with everything switched on."""
    return renders[Mode("factory", "plant")]
