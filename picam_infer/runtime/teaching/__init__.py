"""Teaching while the service runs: one lesson is open at a time, in a thread of its own at low priority."""

from picam_infer.runtime.teaching.teaching import Teaching

__all__ = ["Teaching"]
