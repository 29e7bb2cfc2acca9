import ssl
from pathlib import Path

import pytest

from persistence.tls import TrustError, client_context
from tests.real.certificates import Issuer, self_signed


def test_the_issuer_that_is_given_is_the_only_one(tmp_path: Path) -> None:
    context = client_context(str(Issuer().write(tmp_path / "ca.crt")), None, None)

    assert len(context.get_ca_certs()) == 1
    assert (context.verify_mode, context.check_hostname) == (ssl.CERT_REQUIRED, True)
    assert context.minimum_version == ssl.TLSVersion.TLSv1_2


def test_without_one_those_of_the_machine_count() -> None:
    assert client_context(None, None, None).verify_mode is ssl.CERT_REQUIRED


def test_a_certificate_of_our_own_is_taken_with_its_key(tmp_path: Path) -> None:
    own = Issuer().pair(tmp_path)

    assert client_context(None, str(own.certificate), str(own.key)).check_hostname


def test_files_that_cannot_be_used_are_named(tmp_path: Path) -> None:
    own, other = Issuer().pair(tmp_path / "one"), Issuer().pair(tmp_path / "other")
    locked = self_signed(tmp_path / "locked", passphrase=b"hidden")
    words = tmp_path / "words"
    words.write_text("no certificate")

    with pytest.raises(TrustError, match="nowhere cannot be read: No such file"):
        client_context(str(tmp_path / "nowhere"), None, None)
    with pytest.raises(TrustError, match="words holds no certificates in PEM"):
        client_context(str(words), None, None)
    with pytest.raises(TrustError, match="nowhere cannot be read"):
        client_context(None, str(own.certificate), str(tmp_path / "nowhere"))
    for certificate, key in ((own.certificate, other.key), (words, own.key), locked):
        with pytest.raises(TrustError, match="are no certificate and its key"):
            client_context(None, str(certificate), str(key))
