"""Certificates that the gateway takes, and those of which it says what is wrong with them."""

from __future__ import annotations

import logging
import ssl
from typing import TYPE_CHECKING

import pytest

from gateway.tls import CertificateError, server_context, trusting
from tests.real.certificates import Issuer, Pair, self_signed

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def pair(tmp_path: Path) -> Pair:
    return self_signed(tmp_path)


def shaken_hands(server: ssl.SSLContext, client: ssl.SSLContext, name: str | None = None) -> str | None:
    """Let two ends shake hands in memory; gives the version of TLS that they agree on.

    Raises:
        ssl.SSLError: They do not agree.
    """
    up, down = ssl.MemoryBIO(), ssl.MemoryBIO()
    asks = client.wrap_bio(down, up, server_hostname=name)
    answers = server.wrap_bio(up, down, server_side=True)
    open_ends = [asks, answers]
    for _ in range(10):
        for end in list(open_ends):
            try:
                end.do_handshake()
            except ssl.SSLWantReadError:
                continue
            open_ends.remove(end)
        if not open_ends:
            return asks.version()
    raise AssertionError("they do not come to an end")


def test_who_has_the_certificate_trusts_the_gateway_under_any_name(pair: Pair) -> None:
    assert shaken_hands(server_context(*pair), trusting(pair.certificate)) == "TLSv1.3"


def test_another_certificate_of_the_same_issuer_is_not_trusted(tmp_path: Path) -> None:
    issuer = Issuer()
    ours, other = issuer.pair(tmp_path / "ours"), issuer.pair(tmp_path / "other")

    assert shaken_hands(server_context(*ours), trusting(ours.certificate)) == "TLSv1.3"
    with pytest.raises(ssl.SSLCertVerificationError):
        shaken_hands(server_context(*other), trusting(ours.certificate))


def test_a_client_of_the_issuer_gets_the_whole_chain(tmp_path: Path) -> None:
    issuer = Issuer()
    pair = issuer.pair(tmp_path)
    client = ssl.create_default_context()
    client.verify_flags &= ~ssl.VERIFY_X509_STRICT
    client.load_verify_locations(cadata=pair.certificate.read_text().partition("-----END CERTIFICATE-----\n")[2])

    assert shaken_hands(server_context(*pair), client, "ledger.example") == "TLSv1.3"


@pytest.mark.parametrize(("version", "agreed"), [("TLSv1_1", None), ("TLSv1_2", "TLSv1.2"), ("TLSv1_3", "TLSv1.3")])
@pytest.mark.filterwarnings("ignore:ssl.TLSVersion.TLSv1_1 is deprecated")
def test_nothing_older_than_tls_1_2_is_spoken(pair: Pair, version: str, agreed: str | None) -> None:
    client = trusting(pair.certificate)
    client.minimum_version = client.maximum_version = ssl.TLSVersion[version]
    client.set_ciphers("ALL:@SECLEVEL=0")

    if agreed is None:
        with pytest.raises(ssl.SSLError):
            shaken_hands(server_context(*pair), client)
    else:
        assert shaken_hands(server_context(*pair), client) == agreed


def test_what_cannot_be_used_is_told_by_its_file(pair: Pair, tmp_path: Path) -> None:
    nowhere, text = tmp_path / "nowhere", tmp_path / "text"
    text.write_text("no PEM")
    for certificate, key, told in (
        (nowhere, pair.key, f"{nowhere} cannot be read: No such file or directory"),
        (pair.certificate, nowhere, f"{nowhere} cannot be read: No such file or directory"),
        (tmp_path, pair.key, f"{tmp_path} cannot be read: Is a directory"),
        (text, pair.key, f"{text} holds no certificate in PEM"),
        (pair.key, pair.key, f"{pair.key} holds no certificate in PEM"),
        (pair.certificate, text, f"{text} holds no private key in PEM"),
        (pair.certificate, pair.certificate, f"{pair.certificate} holds no private key in PEM"),
    ):
        with pytest.raises(CertificateError) as raised:
            server_context(certificate, key)
        assert str(raised.value).startswith(told)
    with pytest.raises(CertificateError, match="holds no certificate in PEM"):
        trusting(text)


def test_a_key_of_another_certificate_is_told(pair: Pair, tmp_path: Path) -> None:
    other = self_signed(tmp_path / "other")

    with pytest.raises(CertificateError, match="is not that of the certificate in"):
        server_context(pair.certificate, other.key)


def test_a_key_with_a_passphrase_is_told_and_nobody_is_asked_for_it(tmp_path: Path) -> None:
    pair = self_signed(tmp_path, passphrase=b"hidden")

    with pytest.raises(CertificateError, match="is encrypted, and there is nobody to ask for its passphrase"):
        server_context(*pair)


def test_a_certificate_that_openssl_refuses_is_told(pair: Pair) -> None:
    broken = pair.certificate.read_text() + "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"
    pair.certificate.write_text(broken)

    with pytest.raises(CertificateError, match="cannot be used: "):
        server_context(*pair)


def test_a_certificate_that_has_expired_is_served_with_a_warning(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    pair = self_signed(tmp_path, days=-1)

    with caplog.at_level(logging.WARNING):
        context = server_context(*pair)

    assert "clients will refuse it" in caplog.text
    with pytest.raises(ssl.SSLCertVerificationError, match="expired"):
        shaken_hands(context, trusting(pair.certificate))
