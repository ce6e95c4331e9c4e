"""Who may ask: an API key for estimates, an admin key for what changes the service."""

import hmac
from typing import Final

from v2vpose.errors import PermissionDeniedError, UnauthenticatedError

KEY_HEADER: Final = "x-api-key"
"""The header, and the gRPC metadata key. `Authorization: Bearer <key>` is accepted as well."""


class Keys:
    """The service's keys.

    Args:
        api_key: needed for every request but health, metrics and pages; None = nobody needs one.
        admin_key: needed for admin requests; None = nobody may make them.
    """

    def __init__(self, api_key: str | None, admin_key: str | None) -> None:
        self._api_key = api_key
        self._admin_key = admin_key

    def check(self, key: str | None, authorization: str | None) -> None:
        """Check a caller's key.

        Raises:
            UnauthenticatedError: a key is needed and this is not it.
        """
        if self._api_key is None:
            return
        given = _given(key, authorization)
        if given is None:
            raise UnauthenticatedError(f"an API key is needed: header {KEY_HEADER}")
        if not (_same(given, self._api_key) or self._is_admin(given)):
            raise UnauthenticatedError(f"the API key in header {KEY_HEADER} is not valid")

    def check_admin(self, key: str | None, authorization: str | None) -> None:
        """Check an admin's key.

        Raises:
            PermissionDeniedError: this is not the admin key, or the service has none.
        """
        if self._admin_key is None:
            raise PermissionDeniedError("admin requests are off: the service has no admin key")
        given = _given(key, authorization)
        if given is None or not self._is_admin(given):
            raise PermissionDeniedError(f"the admin key is needed: header {KEY_HEADER}")

    def _is_admin(self, given: str) -> bool:
        return self._admin_key is not None and _same(given, self._admin_key)


def _given(key: str | None, authorization: str | None) -> str | None:
    if key is not None:
        return key
    scheme, _, token = (authorization or "").partition(" ")
    return token.strip() if scheme.lower() == "bearer" and token else None


def _same(given: str, expected: str) -> bool:
    """Compare in constant time."""
    return hmac.compare_digest(given.encode(), expected.encode())
