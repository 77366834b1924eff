"""Following certificate files: what is taken, what is not, and who is told."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from structlog.testing import capture_logs
from support.certificates import Authority, Issued, Secret, replace

from mesh.tls import watch
from mesh.tls.files import CertificateError, TlsFiles
from mesh.tls.watch import CertificateWatch

AUTHORITY = Authority()
ROLES = ("server", "client_ca")
DAY = timedelta(days=1)


@dataclass
class Clock:
    moment: datetime

    def __call__(self) -> datetime:
        return self.moment


@pytest.fixture
def files(tmp_path: Path) -> TlsFiles:
    return AUTHORITY.issue().write(tmp_path)


def watching(files: TlsFiles) -> CertificateWatch:
    return CertificateWatch(files, roles=ROLES)


def serial(watched: CertificateWatch) -> int:
    assert watched.material.chain is not None
    return watched.material.chain.first.serial_number


def test_nothing_changes_while_nothing_is_replaced(files: TlsFiles) -> None:
    watched = watching(files)
    before = watched.material
    with capture_logs() as logged:
        assert not watched.refresh()
    assert watched.material is before
    assert not logged


def test_a_replaced_pair_is_taken(files: TlsFiles, tmp_path: Path) -> None:
    watched = watching(files)
    new = AUTHORITY.issue()
    new.write(tmp_path)
    with capture_logs() as logged:
        assert watched.refresh()
        assert not watched.refresh()
    assert serial(watched) == new.serial
    assert watched.material.key == new.key
    (line,) = logged
    assert line["log_level"] == "info"
    assert line["serial"] == f"{new.serial:x}"


def test_a_pair_that_is_written_in_place_one_after_the_other(files: TlsFiles) -> None:
    watched = watching(files)
    before = serial(watched)
    new = AUTHORITY.issue()
    assert files.certificate is not None
    assert files.key is not None
    with capture_logs() as logged:
        for part in (new.certificate[:500], new.certificate):
            files.certificate.write_bytes(part)
            assert not watched.refresh()
            assert serial(watched) == before
        files.key.write_bytes(new.key)
        assert watched.refresh()
    assert serial(watched) == new.serial
    assert [line["log_level"] for line in logged] == ["info"], "passing states are no trouble"


def test_a_secret_of_kubernetes_is_replaced_at_once(tmp_path: Path) -> None:
    def content(issued: Issued, *authorities: Authority) -> dict[str, bytes]:
        bundle = b"".join(authority.pem for authority in authorities)
        return {"tls.crt": issued.certificate, "tls.key": issued.key, "ca.crt": bundle}

    old, new, another = AUTHORITY.issue(), AUTHORITY.issue(), Authority("another")
    mount = tmp_path / "secret"
    secret = Secret(mount, content(old, AUTHORITY))
    watched = watching(TlsFiles(mount / "tls.crt", mount / "tls.key", mount / "ca.crt"))
    assert serial(watched) == old.serial
    secret.swap(content(new, AUTHORITY, another))
    assert watched.refresh()
    assert serial(watched) == new.serial
    assert watched.material.authorities is not None
    assert another.pem in watched.material.authorities.pem


@pytest.mark.parametrize("kind", ["half", "foreign key", "expired", "removed", "not PEM"])
def test_a_bad_replacement_leaves_the_old_one_in_use(
    kind: str, files: TlsFiles, tmp_path: Path
) -> None:
    watched = watching(files)
    before = watched.material
    new = AUTHORITY.issue(begin=-2 * DAY, end=-DAY) if kind == "expired" else AUTHORITY.issue()
    content = {"half": new.certificate[:-60], "not PEM": b"certificate"}
    assert files.certificate is not None
    if kind == "removed":
        files.certificate.unlink()
    else:
        replace(files.certificate, content.get(kind, new.certificate))
        if kind == "expired":
            new.write(tmp_path)
    with capture_logs() as logged:
        for _ in range(5):
            assert not watched.refresh()
    assert watched.material is before
    (line,) = logged
    assert line["log_level"] == "warning"
    assert str(tmp_path) in line["reason"]
    assert "PRIVATE" not in str(logged)
    good = AUTHORITY.issue()
    good.write(tmp_path)
    assert watched.refresh()
    assert serial(watched) == good.serial
    with capture_logs() as logged:  # the same trouble again is told again
        files.certificate.unlink()
        watched.refresh()
        watched.refresh()
    assert [line["log_level"] for line in logged] == ["warning"]


def test_a_bundle_of_authorities_that_loses_its_end(tmp_path: Path) -> None:
    path = AUTHORITY.write(tmp_path)
    watched = watching(TlsFiles(authorities=path))
    before = watched.material
    replace(path, AUTHORITY.pem + Authority().pem[:200])
    assert not watched.refresh()
    assert watched.material is before


def test_the_first_reading_must_succeed(tmp_path: Path) -> None:
    with pytest.raises(CertificateError, match="cannot be read: No such file"):
        watching(TlsFiles(authorities=tmp_path / "ca.crt"))


def test_a_certificate_has_a_key(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="together"):
        TlsFiles(certificate=tmp_path / "tls.crt")


class TestExpiry:
    @pytest.fixture
    def reader(self, monkeypatch: pytest.MonkeyPatch) -> Iterator[InMemoryMetricReader]:
        reader = InMemoryMetricReader()
        provider = MeterProvider([reader], shutdown_on_exit=False)
        monkeypatch.setattr(watch.metrics, "get_meter", provider.get_meter)
        yield reader
        provider.shutdown()

    def test_what_is_left_is_measured_by_role(
        self, reader: InMemoryMetricReader, tmp_path: Path
    ) -> None:
        files = AUTHORITY.issue(end=20 * DAY).write(tmp_path)
        bundle = tmp_path / "ca.crt"
        old = Authority("old", end=2 * DAY)
        replace(bundle, old.pem + Authority("new", end=90 * DAY).pem)
        clock = Clock(datetime.now(UTC) + DAY)
        watched = CertificateWatch(
            TlsFiles(files.certificate, files.key, bundle), roles=ROLES, now=clock
        )
        found = measured(reader)
        assert found["server"] == pytest.approx(19 * DAY.total_seconds(), abs=60)
        assert found["client_ca"] == pytest.approx(89 * DAY.total_seconds(), abs=60)
        clock.moment += 20 * DAY
        watched.refresh()
        assert measured(reader)["server"] == pytest.approx(-DAY.total_seconds(), abs=60)

    def test_a_warning_a_day_in_the_last_week(self, tmp_path: Path) -> None:
        files = AUTHORITY.issue(end=10 * DAY).write(tmp_path)
        clock = Clock(datetime.now(UTC) + timedelta(minutes=30))
        with capture_logs() as logged:
            watched = CertificateWatch(files, roles=ROLES, now=clock)
            for _ in range(12 * 24):  # twelve days, an hour at a time
                clock.moment += timedelta(hours=1)
                watched.refresh()
        soon = [line for line in logged if line["event"] == "a certificate expires soon"]
        late = [line for line in logged if line["event"] == "a certificate expired"]
        assert len(soon) == 7
        assert len(late) == 3
        assert {line["role"] for line in logged} == {"server"}
        assert {line["log_level"] for line in logged} == {"warning"}

    def test_a_new_certificate_that_is_short_too_is_told_at_once(self, tmp_path: Path) -> None:
        files = AUTHORITY.issue(end=2 * DAY).write(tmp_path)
        watched = watching(files)
        AUTHORITY.issue(end=3 * DAY).write(tmp_path)
        with capture_logs() as logged:
            watched.refresh()
            watched.refresh()
        assert [line["event"] for line in logged] == [
            "certificates reloaded",
            "a certificate expires soon",
        ]


def measured(reader: InMemoryMetricReader) -> dict[str, float]:
    data: Any = reader.get_metrics_data()
    return {
        point.attributes["role"]: point.value
        for resource in data.resource_metrics
        for scope in resource.scope_metrics
        for metric in scope.metrics
        if metric.name == "marquee.tls.certificate.expiry" and metric.unit == "s"
        for point in metric.data.data_points
    }
