"""Imported first: sets the process up as every program's first call does."""

from picam_infer.bootstrap import bootstrap

bootstrap()
