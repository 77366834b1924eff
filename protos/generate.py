"""Generates gen/marquee/ from the contracts, or checks that it is what they generate.

Usage: python protos/generate.py [--check]

buf lints the contracts but does not generate: the gRPC generator of grpcio-tools is linked into its
protoc and is no plugin that buf could start. Run it by `tox run -e gen`, which pins the generators
and then runs the policy compiler, to which gen/marquee_policy/ belongs.
"""

from __future__ import annotations

import argparse
import filecmp
import shutil
import sys
import tempfile
from pathlib import Path

import grpc_tools
from grpc_tools import protoc

PROTOS = Path(__file__).resolve().parent
GEN = PROTOS.parent / "gen"


def generate(out: Path) -> None:
    """Writes the generated packages below `out`.

    Raises:
        SystemExit: protoc refused the contracts; it has printed why.
    """
    sources = sorted(str(path.relative_to(PROTOS)) for path in PROTOS.rglob("*.proto"))
    well_known = Path(grpc_tools.__file__).parent / "_proto"
    status = protoc.main(
        [
            "protoc",
            f"-I{PROTOS}",
            f"-I{well_known}",
            f"--python_out={out}",
            f"--pyi_out={out}",
            f"--grpc_python_out={out}",
            f"--mypy_grpc_out={out}",
            *sources,
        ]
    )
    if status:
        raise SystemExit(status)
    for folder in {path.parent for path in out.rglob("*.py")} | {out / "marquee"}:
        (folder / "py.typed").touch()
    for path in out.rglob("*_pb2_grpc.py*"):
        source = PROTOS / path.relative_to(out).with_name(
            path.name.split("_pb2_grpc")[0] + ".proto"
        )
        if not any(line.startswith("service ") for line in source.read_text().splitlines()):
            path.unlink()


def _files(root: Path) -> set[Path]:
    return {
        path.relative_to(root)
        for path in (root / "marquee").rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }


def check() -> list[str]:
    """Returns what differs between gen/marquee/ and what the contracts generate, a line each."""
    with tempfile.TemporaryDirectory() as scratch:
        fresh = Path(scratch)
        generate(fresh)
        expected, found = _files(fresh), _files(GEN)
        differing = {
            path
            for path in expected & found
            if not filecmp.cmp(fresh / path, GEN / path, shallow=False)
        }
    return [
        *(f"missing: gen/{path}" for path in sorted(expected - found)),
        *(f"left over: gen/{path}" for path in sorted(found - expected)),
        *(f"out of date: gen/{path}" for path in sorted(differing)),
    ]


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description="Generate gen/marquee/ from the contracts.")
    parser.add_argument("--check", action="store_true", help="fail if it is out of date")
    if not parser.parse_args().check:
        shutil.rmtree(GEN / "marquee", ignore_errors=True)
        GEN.mkdir(exist_ok=True)
        generate(GEN)
        return
    if drift := check():
        sys.exit("\n".join([*drift, "Run `tox run -e gen` and commit gen/."]))
    print(f"gen/marquee/ is what the contracts generate ({len(_files(GEN))} files)")


if __name__ == "__main__":
    main()
