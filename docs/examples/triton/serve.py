"""Triton from the package nvidia-pytriton, serving a repository that `picam-infer export --to triton` wrote.

The package has no OpenVINO back-end, so Triton's Python back-end runs the networks: what is served is a copy of the
repository, beside it, that says so. `python serve.py REPOSITORY [OPTION OF TRITONSERVER…]`, with the Python of the
environment that has nvidia-pytriton and openvino.
"""

from __future__ import annotations

import os
import shutil
import sys
import sysconfig
from collections.abc import Sequence
from pathlib import Path

HERE = Path(__file__).parent


def adapt(model: Path) -> None:
    """Have Triton's Python back-end run an exported model's folder."""
    shutil.copy(HERE / "triton_model.py", model / "1/model.py")
    config = (model / "config.pbtxt").read_text()
    for written, wanted in (('backend: "openvino"', 'backend: "python"'), ('"model.xml"', '"model.py"')):
        config = config.replace(written, wanted)
    (model / "config.pbtxt").write_text(config)


def adapted(repository: Path) -> Path:
    """Return a copy of an exported repository that Triton's Python back-end serves."""
    copy = repository.with_name(f"{repository.name}.served")
    shutil.rmtree(copy, ignore_errors=True)
    shutil.copytree(repository, copy)
    for config in copy.glob("*/config.pbtxt"):
        adapt(config.parent)
    return copy


def command(packages: Path, version: str, repository: Path, options: Sequence[str]) -> tuple[list[str], dict[str, str]]:
    """Return tritonserver's command line and what its environment needs; `version`: the Python's, such as 3.11."""
    home, backends = packages / "pytriton/tritonserver", repository.with_name(f"{repository.name}.backends")
    stub = home / "python_backend_stubs" / version / "triton_python_backend_stub"
    if not stub.exists():
        raise SystemExit(f"serve.py: nvidia-pytriton has no back-end for Python {version}, but for "
                         f"{', '.join(sorted(p.name for p in stub.parents[1].glob('3*')))}")  # fmt: skip
    shutil.rmtree(backends, ignore_errors=True)
    shutil.copytree(home / "backends", backends)
    shutil.copy(stub, backends / "python")
    words = [str(home / "bin/tritonserver"), f"--model-repository={repository}", f"--backend-directory={backends}"]
    return [*words, *options], {"LD_LIBRARY_PATH": str(packages / "nvidia_pytriton.libs"), "PYTHONPATH": ""}


def main() -> None:
    """Become the server, for this machine alone unless an option says otherwise."""
    if len(sys.argv) < 2 or not Path(sys.argv[1]).is_dir():
        raise SystemExit(__doc__)
    packages, version = Path(sysconfig.get_path("platlib")), f"{sys.version_info.major}.{sys.version_info.minor}"
    local = [f"--{kind}-address=127.0.0.1" for kind in ("http", "grpc", "metrics")]
    repository = adapted(Path(sys.argv[1]).resolve())
    words, environment = command(packages, version, repository, [*local, *sys.argv[2:]])
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    os.execve(words[0], words, {**os.environ, **environment, "PATH": path})


if __name__ == "__main__":
    main()
