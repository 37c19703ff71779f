"""`python -m picam_infer` is the `picam-infer` command."""

from picam_infer.cli import main

if __name__ == "__main__":
    raise SystemExit(main())
