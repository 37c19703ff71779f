"""What the tests of engines share."""

from __future__ import annotations

import shutil

import model_server
import pytest
from model_server import Certificate


@pytest.fixture(scope="session")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Certificate]:
    """An authority's good one, one that has expired, one for another host; the authority; and nobody's."""
    if not shutil.which("openssl"):
        pytest.skip("needs openssl")
    folder = tmp_path_factory.mktemp("certificates")
    ours = model_server.authority(folder / "authority")
    here, elsewhere = "IP:127.0.0.1", "DNS:elsewhere.example"
    return {
        "good": model_server.certificate(folder / "good", 2, here, ours),
        "expired": model_server.certificate(folder / "expired", -1, here, ours),
        "elsewhere": model_server.certificate(folder / "elsewhere", 2, elsewhere, ours),
        "authority": ours,
        "stranger": model_server.certificate(folder / "stranger", 2, here),
    }
