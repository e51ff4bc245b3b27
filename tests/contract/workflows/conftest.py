"""The repository that the walks clone, made once."""

from pathlib import Path

import pytest

from dry_walk.machine import repository


@pytest.fixture(scope="session")
def origin(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return repository(tmp_path_factory.mktemp("origin"))
