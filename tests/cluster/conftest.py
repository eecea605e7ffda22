"""One plant for all faults: starting Ray takes longer than most of the tests."""

from collections.abc import Iterator

import pytest
from support.plant import Plant, running_plant

from workers.local.errors import ServiceError


@pytest.fixture(scope="package")
def plant(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Plant]:
    try:
        with running_plant(tmp_path_factory.mktemp("plant")) as plant:
            yield plant
    except ServiceError as error:
        pytest.fail(str(error))
