"""Where the `picam-infer` command begins, also as `python -m picam_infer`."""

import sys

from picam_infer.platform import early_signals, memory


def main() -> int:
    """Run the command; returns the exit code. Signals are taken before the rest of the program is imported."""
    early_signals.prepare(service=sys.argv[1:2] == ["run"])
    try:
        from picam_infer import cli
    except Exception as error:  # the commands, which tell all others, are not there yet
        if (told := memory.told(error)) is None:
            raise
        # Not by `terminal`, which may not load either. In ASCII nothing from outside steers a terminal.
        sys.stderr.write(f"picam-infer: {ascii(told)[1:-1]}\n")
        return 1
    return cli.main()


if __name__ == "__main__":
    raise SystemExit(main())
