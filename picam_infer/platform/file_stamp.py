"""What tells one state of a file from another, for those who read a file again only when it has changed."""

from __future__ import annotations

from pathlib import Path

FileStamp = tuple[int, int, int]


def file_stamp(path: Path | None) -> FileStamp | None:
    """Return time of change (ns), size (bytes) and inode of a file; None: there is none, or it cannot be asked."""
    try:
        status = path.stat() if path else None
    except OSError:
        return None
    return (status.st_mtime_ns, status.st_size, status.st_ino) if status else None
