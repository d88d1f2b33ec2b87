"""``python -m ddpm_app`` and ``ddpm-studio``. The doctor is reached without importing what it may have to mend."""

import sys

from ddpm_app import console


def main(argv: list[str]) -> int:
    """Run one command line and return the exit status."""
    console.make_forgiving()
    if argv[:1] == ["doctor"]:
        from ddpm_app.doctor import main as command
    else:
        from ddpm_app.cli import main as command
    return command(argv)


def studio() -> int:
    """The console script: as ``main``, but without a verb it is the page."""
    argv = sys.argv[1:]
    is_page = not argv or argv[0].startswith("-") and argv[0] not in ("-h", "--help")
    return main(["app", *argv] if is_page else argv)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
