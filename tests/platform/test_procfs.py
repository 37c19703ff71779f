"""Other processes, on a real process and on folders like the kernel's."""

from __future__ import annotations

import math
import os
import subprocess
import sys
from pathlib import Path

from picam_infer.platform import procfs
from picam_infer.platform.procfs import Process


def test_a_real_process_with_a_file_open_is_found(tmp_path: Path) -> None:
    file = tmp_path / "device"
    code = f"import sys; f = open({str(file)!r}, 'w'); print('open', flush=True); sys.stdin.read()"
    with subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as child:
        assert child.stdin and child.stdout
        child.stdout.readline()
        (found,) = procfs.holders([str(file)])[str(file)]
        assert (found.pid, found.parent) == (child.pid, os.getpid())
        assert str(found).endswith(f"(PID {child.pid})") and "-c" in found.command
        assert 0 <= found.age_s < Process(Path("/proc/1")).age_s
        child.stdin.close()
    assert procfs.holders([str(file)]) == {str(file): []} and found.age_s == math.inf


def process(proc: Path, pid: int, name: str, cgroup: str, command: str) -> Process:
    folder = proc / str(pid)
    (folder / "fd").mkdir(parents=True)
    (folder / "comm").write_text(name + "\n")
    (folder / "cgroup").write_text(f"0::{cgroup}\n")
    (folder / "cmdline").write_bytes(command.replace(" ", "\0").encode())
    return Process(folder)


def test_a_service_is_known_by_its_control_group(tmp_path: Path) -> None:
    group = r"/system.slice/system-picam\x2dinfer.slice/picam-infer@bench.service"
    run = "python3 /opt/picam-infer/current/bin/picam-infer run -c /etc/picam-infer/bench.yaml"
    bench = process(tmp_path, 90, "picam-infer", group, run)
    assert (bench.service, str(bench), bench.keeps_devices) == ("picam-infer@bench", "picam-infer@bench (PID 90)", True)
    main = process(tmp_path, 91, "picam-infer", "/system.slice/picam-infer.service", run)
    assert main.service == "picam-infer"
    checking = process(tmp_path, 92, "picam-infer", "/user.slice/user-1000.slice/session-1.scope", "picam-infer check")
    assert (checking.service, checking.keeps_devices) == ("", False)
    assert [one.pid for one in procfs.others(tmp_path)] == [90, 91, 92]


def test_what_has_ended_is_empty(tmp_path: Path) -> None:
    gone = Process(tmp_path / "7")
    assert (gone.name, gone.service, gone.parent, list(gone.files())) == ("", "", 0, [])


def test_who_listens_on_a_port_is_found() -> None:
    code = "import socket as s; t = s.create_server(('::1', 0), family=s.AF_INET6); print(t.getsockname()[1]); input()"
    with subprocess.Popen([sys.executable, "-u", "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as child:
        assert child.stdin and child.stdout
        port = int(child.stdout.readline())
        (inode,) = procfs.listening()[port]
        (found,) = procfs.holders([f"socket:[{inode}]"])[f"socket:[{inode}]"]
        assert found.pid == child.pid
        child.stdin.close()
    assert port not in procfs.listening()
