"""Bounds of tokens of an identity provider."""

from typing import Final

from gift_ledger.bounds.bound import Bound

_SETTINGS: Final = "gateway.token_settings.TokenSettings"
_REFUSED: Final = "gift_ledger_http_tokens_refused_total"
_UNAUTHENTICATED: Final = "401 `Unauthenticated`"
_PASSED_OVER: Final = "the key is passed over: 401 `Unauthenticated` for its tokens"
_FAILED: Final = "the reading has failed: known keys are used on"

TOKENS: Final = (
    Bound("gateway.token_check.TOKEN_BYTES_MAX", _UNAUTHENTICATED, _REFUSED),
    Bound("gateway.token_check.HEADER_BYTES_MAX", _UNAUTHENTICATED, _REFUSED),
    Bound("gateway.token_check.SIGNATURE_BYTES_MAX", _UNAUTHENTICATED, _REFUSED),
    Bound("gateway.token_check.KID_CHARACTERS_MAX", _UNAUTHENTICATED, _REFUSED),
    Bound("gateway.token_client.SUBJECT_CHARACTERS_MAX", _UNAUTHENTICATED, _REFUSED),
    Bound(f"{_SETTINGS}.leeway_seconds", _UNAUTHENTICATED, _REFUSED, setting="jwt_leeway_seconds"),
    Bound("gateway.tokens.ADMITTED_SECONDS_MAX", "it is checked again"),
    Bound("gateway.keyring.TOKENS_MAX", "the oldest is checked again when it comes", unit="tokens"),
    Bound("gateway.rates.CLIENTS_MAX", "the oldest may send as many as at the beginning", unit="clients"),
    Bound("gateway.jwks.DOCUMENT_BYTES_MAX", _FAILED),
    Bound("gateway.jwks.KEYS_MAX", _FAILED, unit="keys"),
    Bound("gateway.jwks.RSA_BITS_MIN", _PASSED_OVER, _REFUSED, "bits"),
    Bound("gateway.jwks.RSA_BITS_MAX", _PASSED_OVER, _REFUSED, "bits"),
    Bound("gateway.jwks_document.READ_SECONDS_MAX", _FAILED),
    Bound(f"{_SETTINGS}.keys_refresh_seconds", "a pause", setting="jwt_keys_refresh_seconds"),
    Bound(f"{_SETTINGS}.keys_refresh_seconds_min", f"{_UNAUTHENTICATED} without another look", _REFUSED),
    Bound(
        f"{_SETTINGS}.keys_stale_seconds_max",
        "503 `StorageUnavailable` for every token",
        setting="jwt_keys_stale_seconds",
    ),
    Bound("gateway.signing_keys.WAITING_MAX", "503 `StorageUnavailable`: nothing happened", unit="requests"),
)
