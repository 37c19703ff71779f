"""Where the `picam-infer` command begins, also as `python -m picam_infer`."""

import sys

from picam_infer.platform import early_signals


def main() -> int:
    """Run the command; returns the exit code. Signals are taken before the rest of the program is imported."""
    early_signals.prepare(service=sys.argv[1:2] == ["run"])
    from picam_infer import cli

    return cli.main()


if __name__ == "__main__":
    raise SystemExit(main())
