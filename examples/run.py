"""Runs an example against an embedded mesh of its own, through its edge, and checks what it says.

Usage: python examples/run.py {python,go,node,java} [--plain | --tls]

It starts the mesh on free ports with a handful of movies and a trained model, builds the example
and runs it twice: the second time everything it records must have been there already. By default
it does so in plain text, and then once more with a mesh that speaks TLS. Where the toolchain of the
language is missing, or cannot reach the registry of its packages, it says so and exits with 0.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from marquee.reco.v1 import (
    catalog_service_pb2,
    interaction_service_pb2,
    model_service_pb2,
    movie_pb2,
)

from cli.scopes import ALL as ALL_SCOPES
from cli.scopes import PERSON
from devstack.components import ALL, OTLP, StackConfig
from devstack.ports import Ports
from devstack.stack import Stack
from marquee_client import Tls, aio, errors

HERE = Path(__file__).resolve().parent
_FOLLOW_SECONDS = 30
_REACH_SECONDS = 180
_BUILD_SECONDS = 1200
_RUN_SECONDS = 90
_PEOPLE = 40


@dataclass(frozen=True, slots=True)
class Example:
    """How the example of a language is built and run, in its directory.

    Attributes:
        tools: Programs that it needs.
        reach: A command that succeeds where its packages can be had; empty: it needs none.
        build: Commands.
        run: Commands, each a program of its own that does the whole job.
        follow: What asks them to follow the live stream.
        directory: Where, below examples/.
    """

    directory: str
    tools: tuple[str, ...]
    reach: tuple[str, ...]
    build: tuple[tuple[str, ...], ...]
    run: tuple[tuple[str, ...], ...]
    follow: tuple[str, ...] = ("--follow", str(_FOLLOW_SECONDS))


EXAMPLES: Mapping[str, Example] = {
    "python": Example(
        directory="python",
        tools=(),
        reach=(),
        build=(),
        run=((sys.executable, "recommend.py"), (sys.executable, "recommend_aio.py")),
    ),
    "go": Example(
        directory="go",
        tools=("go", "buf"),
        reach=("go", "list", "-m", "-versions", "google.golang.org/protobuf"),
        build=(
            ("go", "generate", "."),
            ("go", "vet", "."),
            ("go", "build", "-o", "recommend", "."),
        ),
        run=(("./recommend",),),
        follow=("-follow", f"{_FOLLOW_SECONDS}s"),
    ),
    "node": Example(
        directory="node",
        tools=("node", "npm"),
        reach=("npm", "view", "@grpc/grpc-js", "version"),
        build=(("npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund"),),
        run=(("node", "recommend.js"),),
    ),
    "java": Example(
        directory="java",
        tools=("java", "javac", "mvn"),
        reach=("mvn", "-q", "-B", "-ntp", "dependency:get", "-Dartifact=io.grpc:grpc-api:1.85.1"),
        build=(("mvn", "-q", "-B", "-ntp", "process-classes"),),
        run=(("java", "-cp", "target/classes:target/lib/*", "example.Recommend"),),
    ),
}

_EXPECTED = (
    r"^user {user}: Ada$",
    r"^likes .+: {recorded} *$",
    r"^score +source +movie +because of *$",
    r"^\d\.\d{{3}} +PERSONAL +Movie .+ Movie \d+ [+-]\d\.\d\d",
    r"(?i)^refused: invalid_?argument: .*limit.*; reason INVALID_FIELD of marquee; field limit: .+",
    r"^{followed}",
)


class ExampleFailed(Exception):
    """An example did not do what it should; `str(error)` says what."""


@asynccontextmanager
async def mesh(*, tls: bool) -> AsyncIterator[Stack]:
    """Runs a mesh with movies and a model on free ports, in a directory that is removed."""
    data_dir = Path(tempfile.mkdtemp(prefix="marquee-examples-"))
    config = StackConfig(
        data_dir=data_dir, ports=Ports.free(), components=frozenset(ALL) - {OTLP}, tls=tls
    )
    stack = Stack(config)
    try:
        await stack.start()
        try:
            await _fill(stack)
            yield stack
        finally:
            await stack.stop()
    finally:
        shutil.rmtree(data_dir, ignore_errors=True)


async def _fill(stack: Stack) -> None:
    """Stores movies, records what people liked, trains a model and makes it the serving one."""
    token = stack.issuer.mint("service:examples", ALL_SCOPES, 600)
    ca_file = _ca_file(stack)
    tls = Tls(ca_file=ca_file) if ca_file else None
    async with aio.connect(stack.endpoints.edge, token=token, tls=tls) as marquee:
        movies = [
            movie_pb2.Movie(
                id=f"m{number:02}",
                title=f"Movie {number}",
                genres=["Western" if number % 2 else "Comedy"],
                year=1980 + number,
            )
            for number in range(24)
        ]
        await marquee.catalog.UpsertMovies(catalog_service_pb2.UpsertMoviesRequest(movies=movies))
        likes = [
            interaction_service_pb2.Interaction(
                event_id=f"{person}-{movie.id}",
                user_id=f"person-{person}",
                movie_id=movie.id,
                type=interaction_service_pb2.INTERACTION_TYPE_LIKE,
            )
            for person in range(_PEOPLE)
            for number, movie in enumerate(movies)
            if (person + number * number) % 3 and (person + number) % 2 == 0
        ]
        for start in range(0, len(likes), 1000):
            request = interaction_service_pb2.RecordInteractionsRequest(
                interactions=likes[start : start + 1000]
            )
            await marquee.interactions.RecordInteractions(request, timeout=60)
        await _train(marquee)


async def _train(marquee: aio.Marquee) -> None:
    trained = await marquee.models.TrainModel(model_service_pb2.TrainModelRequest(seed=1))
    version = trained.model.version
    get = model_service_pb2.GetModelRequest(version=version)
    async with asyncio.timeout(120):
        while True:
            model = (await marquee.models.GetModel(get)).model
            if model.status == model_service_pb2.MODEL_STATUS_READY:
                break
            if model.status == model_service_pb2.MODEL_STATUS_FAILED:
                raise ExampleFailed(f"the training failed: {model.failure}")
            await asyncio.sleep(0.2)
        await marquee.models.PromoteModel(model_service_pb2.PromoteModelRequest(version=version))
        index = model_service_pb2.GetIndexStatusRequest()
        # The replica loads the vectors first, and tells nobody when it has.
        while (await marquee.models.GetIndexStatus(index)).model_version != version:  # noqa: ASYNC110  # remote
            await asyncio.sleep(0.1)


def _ca_file(stack: Stack) -> str:
    tls = stack.info.tls
    return tls.ca if tls is not None else ""


def build(example: Example) -> None:
    """Generates the code of an example and compiles it.

    Raises:
        ExampleFailed: A command of it failed.
    """
    for command in example.build:
        began = time.monotonic()
        status = subprocess.run(  # noqa: S603  # commands written above
            command, cwd=HERE / example.directory, timeout=_BUILD_SECONDS, check=False
        ).returncode
        if status:
            raise ExampleFailed(f"{' '.join(command)} exited with {status}")
        print(f"$ {' '.join(command)}  ({time.monotonic() - began:.1f} s)", flush=True)


async def check(example: Example, stack: Stack) -> None:
    """Runs the programs of an example, each twice and as a person of its own.

    Raises:
        ExampleFailed: One of them did not say what it should.
    """
    for number, command in enumerate(example.run):
        user = f"{example.directory}-{number}"
        token = stack.issuer.mint(user, PERSON, 600)
        environment = {
            **os.environ,
            "MARQUEE_EDGE": stack.endpoints.edge,
            "MARQUEE_TOKEN": token,
            "MARQUEE_USER": user,
        }
        environment.pop("MARQUEE_CA_FILE", None)
        if ca_file := _ca_file(stack):
            environment["MARQUEE_CA_FILE"] = ca_file
        for arguments, recorded, followed in (
            (example.follow, "ACCEPTED", "notification 1: .*Movie "),
            ((), "DUPLICATE", "refused: "),
        ):
            output = await _run((*command, *arguments), example, environment)
            for pattern in _EXPECTED:
                expected = pattern.format(user=user, recorded=recorded, followed=followed)
                if not re.search(expected, output, re.MULTILINE):
                    raise ExampleFailed(f"no line of what it said is {expected}")
        await _refused(command, example, {**environment, "MARQUEE_USER": "somebody-else"})


async def _refused(
    command: Sequence[str], example: Example, environment: Mapping[str, str]
) -> None:
    """Runs a program as somebody whose token it has not got; it must say so and fail."""
    output = await _run(command, example, environment, succeeds=False)
    if not re.search(r"(?i)permission_?denied.*SUBJECT_MISMATCH", output):
        raise ExampleFailed("it does not say that the token is of another user")


async def _run(
    command: Sequence[str],
    example: Example,
    environment: Mapping[str, str],
    *,
    succeeds: bool = True,
) -> str:
    print(f"$ {' '.join(command)}", flush=True)
    process = await asyncio.create_subprocess_exec(
        *command,
        cwd=HERE / example.directory,
        env=environment,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    try:
        async with asyncio.timeout(_RUN_SECONDS):
            raw, _ = await process.communicate()
    except TimeoutError:
        process.kill()
        await process.wait()
        raise ExampleFailed(f"it was not done within {_RUN_SECONDS} s") from None
    output = raw.decode(errors="replace")
    print(output, flush=True)
    if (process.returncode == 0) is not succeeds:
        raise ExampleFailed(f"it exited with {process.returncode}")
    return output


def missing(example: Example) -> str:
    """Returns what an example needs and this machine has not; empty: nothing."""
    if tools := [tool for tool in example.tools if shutil.which(tool) is None]:
        return f"{', '.join(tools)}, not found on this machine"
    if example.reach and not _reaches(example):
        return f"packages that cannot be had from here: {' '.join(example.reach)} fails"
    return ""


def _reaches(example: Example) -> bool:
    try:
        done = subprocess.run(  # noqa: S603  # commands written above
            example.reach,
            cwd=HERE / example.directory,
            stdout=subprocess.DEVNULL,
            timeout=_REACH_SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return False
    return done.returncode == 0


async def main(name: str, transports: Sequence[bool]) -> None:
    """Builds an example and runs it against a mesh in each of the transports.

    Raises:
        ExampleFailed: It does not do what it should.
    """
    example = EXAMPLES[name]
    await asyncio.to_thread(build, example)
    for tls in transports:
        began = time.monotonic()
        async with mesh(tls=tls) as stack:
            words = "with TLS" if tls else "in plain text"
            print(f"a mesh {words} is ready ({time.monotonic() - began:.1f} s)", flush=True)
            await check(example, stack)
        print(f"{name} {words}: as it should be ({time.monotonic() - began:.1f} s)", flush=True)


def _command_line() -> int:
    parser = argparse.ArgumentParser(description="Run an example against a mesh of its own.")
    parser.add_argument("language", choices=EXAMPLES)
    transport = parser.add_mutually_exclusive_group()
    transport.add_argument("--plain", action="store_true", help="in plain text only")
    transport.add_argument("--tls", action="store_true", help="with TLS only")
    arguments = parser.parse_args()
    if lack := missing(EXAMPLES[arguments.language]):
        line = f"SKIPPED: the {arguments.language} example needs {lack}"
        print("\n".join(["=" * len(line), line, "=" * len(line)]))
        return 0
    transports = [False] * (not arguments.tls) + [True] * (not arguments.plain)
    try:
        with errors.readable():
            asyncio.run(main(arguments.language, transports))
    except (ExampleFailed, errors.CallFailed) as error:
        print(f"examples/run.py: {arguments.language}: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(_command_line())
