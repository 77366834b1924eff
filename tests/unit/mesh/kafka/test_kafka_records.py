import pytest
from hypothesis import given
from hypothesis import strategies as st

from mesh.kafka import topics
from mesh.kafka.dead_letters import Provenance
from mesh.kafka.producer.chunks import CHUNK_BYTES, CHUNK_RECORDS, chunks, record_size
from mesh.kafka.record import OutgoingRecord

texts = st.text(st.characters(codec="utf-8"), max_size=200)
numbers = st.integers(-1, 2**53)


@given(
    st.builds(
        Provenance,
        topic=texts,
        partition=numbers,
        offset=numbers,
        timestamp_ms=numbers,
        group=texts,
        reason=texts,
        error_type=texts,
        attempts=numbers,
        failed_at_ms=numbers,
        value_bytes=numbers,
    )
)
def test_provenance_survives_the_journey(provenance):
    assert Provenance.from_headers(dict(provenance.to_headers())) == provenance


def test_a_long_reason_is_cut_between_characters():
    provenance = Provenance("t", 0, 0, 0, "g", "é" * 5000, "E", 1, 0)
    reason = Provenance.from_headers(dict(provenance.to_headers())).reason
    assert reason == "é" * 512


def test_other_records_are_not_dead_letters():
    with pytest.raises(ValueError, match="not a dead letter: no header 'dlq_topic'"):
        Provenance.from_headers({"ce_id": b"1"})


@given(
    st.lists(
        st.builds(
            OutgoingRecord,
            topic=st.just("t"),
            key=st.binary(max_size=20),
            value=st.one_of(st.none(), st.integers(0, 900_000).map(bytes)),
            headers=st.just((("ce_id", b"1"),)),
        ),
        max_size=12,
    )
)
def test_chunks_cover_a_batch_in_order_and_fit(records):
    found = list(chunks(records))
    assert [index for start, stop in found for index in range(start, stop)] == list(
        range(len(records))
    )
    for start, stop in found:
        size = sum(record_size(record) for record in records[start:stop])
        assert size <= CHUNK_BYTES or stop - start == 1


def test_chunks_bound_how_many_records_are_outstanding():
    records = [OutgoingRecord("t", b"k", b"v")] * (2 * CHUNK_RECORDS + 1)
    assert [stop - start for start, stop in chunks(records)] == [
        CHUNK_RECORDS,
        CHUNK_RECORDS,
        1,
    ]


def test_the_topics_of_the_mesh():
    assert {spec.name: spec.partitions for spec in topics.TOPICS} == {
        "marquee.user.events": 6,
        "marquee.interaction.events": 6,
        "marquee.catalog.events": 6,
        "marquee.model.events": 6,
        "marquee.recommendation.events": 6,
        "marquee.notification.requests": 6,
        "marquee.dlq": 6,
    }
    compacted = {spec.name for spec in topics.TOPICS if spec.config}
    assert compacted == {topics.USER_EVENTS, topics.CATALOG_EVENTS}
    assert topics.spec_of(topics.USER_EVENTS).config == {"cleanup.policy": "compact"}
    assert topics.spec_of("else") == topics.TopicSpec("else", 6, {})
