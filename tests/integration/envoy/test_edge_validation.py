"""Envoy itself accepts what the renderer makes."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace

import pytest
from marquee_envoy.config import Endpoint
from marquee_envoy.render import render

from devstack.edge import envoy_binary


def validate(path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [envoy_binary(), "--mode", "validate", "--disable-hot-restart", "-c", str(path)],
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )


def test_the_command_lines_configuration_is_valid(tmp_path):
    arguments = ["--user", "users.mesh:50051", "--reco", "10.0.0.1:1", "10.0.0.2:1"]
    arguments += ["--notify", "[::1]:50053", "--otlp", "collector:4317"]
    arguments += ["--cors-origin", "https://example.org", "--trace-percent", "12.5"]
    arguments += ["--issuer", "https://id.example", "--audience", "marquee"]
    arguments += ["--jwks", "https://id.example/keys"]
    arguments += ["--descriptor-set", str(tmp_path / "marquee.binpb")]
    rendered = subprocess.run(
        [sys.executable, "-m", "marquee_envoy", *arguments],
        capture_output=True,
        text=True,
        timeout=30,
        check=True,
    )
    settings = tmp_path / "envoy.yaml"
    settings.write_text(rendered.stdout)

    verdict = validate(settings)

    assert verdict.returncode == 0, verdict.stderr[-2000:]
    assert "STRICT_DNS" in rendered.stdout


@pytest.mark.parametrize("otlp", [None, Endpoint("127.0.0.1", 4317)])
def test_configurations_with_and_without_traces_are_valid(tmp_path, base_config, otlp):
    settings = tmp_path / "envoy.yaml"
    settings.write_text(render(replace(base_config, otlp=otlp)))

    verdict = validate(settings)

    assert verdict.returncode == 0, verdict.stderr[-2000:]


def test_validation_does_notice_mistakes(tmp_path, base_config):
    settings = tmp_path / "envoy.yaml"
    settings.write_text(render(base_config).replace('"LEAST_REQUEST"', '"WISH"'))

    assert validate(settings).returncode != 0
