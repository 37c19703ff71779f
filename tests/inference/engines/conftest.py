"""What the tests of engines share."""

from __future__ import annotations

import shutil

import model_server
import pytest
from model_server import Certificate


@pytest.fixture(scope="session")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Certificate]:
    """See `model_server.certificates`."""
    if not shutil.which("openssl"):
        pytest.skip("needs openssl")
    return model_server.certificates(tmp_path_factory.mktemp("certificates"))
