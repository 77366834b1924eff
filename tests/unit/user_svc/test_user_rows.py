import pytest

from user_svc.store.rows import creation_key, to_creation


@pytest.mark.parametrize("caller", ["ada", "service:desk", "https://idp.example/u?1|2", "a\nb", ""])
@pytest.mark.parametrize("request_id", ["r", "a b/c:d|e", "ä" * 128])
def test_a_creation_is_known_by_its_caller_and_request_id(caller: str, request_id: str) -> None:
    row = {"_id": creation_key(caller, request_id), "user_id": "ada", "account": None}
    creation = to_creation(row)
    assert (creation.caller, creation.request_id) == (caller, request_id)
