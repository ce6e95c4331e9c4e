import pytest

from v2vpose.api.access import Keys
from v2vpose.errors import PermissionDeniedError, UnauthenticatedError


def test_without_a_key_everybody_may_ask_and_nobody_is_admin() -> None:
    keys = Keys(None, None)
    keys.check(None, None)
    with pytest.raises(PermissionDeniedError, match="the service has no admin key"):
        keys.check_admin("x", None)


@pytest.mark.parametrize(
    ("key", "authorization"), [("secret", None), (None, "Bearer secret"), ("boss", None)]
)
def test_the_key_and_the_admin_key_open_the_door(
    key: str | None, authorization: str | None
) -> None:
    Keys("secret", "boss").check(key, authorization)


@pytest.mark.parametrize(
    ("key", "authorization", "text"),
    [
        (None, None, "an API key is needed: header x-api-key"),
        (None, "Basic secret", "is needed"),
        ("sécret", None, "not valid"),
        (None, "Bearer other", "not valid"),
    ],
)
def test_other_callers_stay_outside(key: str | None, authorization: str | None, text: str) -> None:
    with pytest.raises(UnauthenticatedError, match=text):
        Keys("secret", None).check(key, authorization)


def test_a_caller_is_not_an_admin() -> None:
    keys = Keys("secret", "boss")
    keys.check_admin("boss", None)
    for key in (None, "secret"):
        with pytest.raises(PermissionDeniedError, match="the admin key is needed"):
            keys.check_admin(key, None)
