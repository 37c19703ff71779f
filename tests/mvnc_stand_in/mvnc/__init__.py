"""Tests only: as much of NCSDK2's Python package as a program may use, over the stand-in library."""
