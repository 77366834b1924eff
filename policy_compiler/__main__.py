"""The command line: `python -m policy_compiler [--check]`."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from policy_compiler.compiler import compile_policies, drift, write
from policy_compiler.sources import compile_protos

_ROOT = Path(__file__).resolve().parent.parent


def main(arguments: list[str] | None = None) -> None:
    """Writes what follows from the policies, or checks it.

    Raises:
        SystemExit: A policy is missing or unsound, or with --check a file has drifted; one line
            on standard error for each.
    """
    parser = argparse.ArgumentParser(
        prog="python -m policy_compiler",
        description="Compile the policies of the contracts.",
    )
    parser.add_argument("--check", action="store_true", help="fail if a file is out of date")
    parser.add_argument(
        "--root", type=Path, default=_ROOT, metavar="PATH", help="the repository (default: this)"
    )
    options = parser.parse_args(arguments)
    try:
        files = compile_policies(compile_protos(options.root / "protos"))
    except ValueError as error:
        sys.exit(str(error))
    if not options.check:
        changed = write(files, options.root)
        print("\n".join(f"wrote {path}" for path in changed) or "nothing has changed")
        return
    if found := drift(files, options.root):
        sys.exit("\n".join([*found, "Run `python -m policy_compiler` and commit what it writes."]))
    print(f"what follows from the policies is up to date ({len(files)} files)")


if __name__ == "__main__":
    main()
