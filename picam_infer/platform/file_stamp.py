"""Notices whether a file has changed, so that it is read again only then."""

from __future__ import annotations

from pathlib import Path

FileStamp = tuple[int, int, int]


def file_stamp(path: Path | None) -> FileStamp | None:
    """Return modification time (ns), size (bytes) and inode of a file; None: there is none that can be seen."""
    try:
        status = path.stat() if path else None
    except OSError:
        return None
    return (status.st_mtime_ns, status.st_size, status.st_ino) if status else None
