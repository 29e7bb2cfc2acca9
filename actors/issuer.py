"""Makes CVCs, and the messages that bring them to the recipient."""

import logging
from typing import Final

import msgspec

from actors.errors import PepperMissingError
from ledger import peppers
from ledger.commands import IssuedCvc
from persistence import envelope
from persistence.log import KeyName
from persistence.vault import RECIPIENT, SMS, Recipient, Sms, Vault, new_cvc

_TEXTS: Final = {
    "ru": "Подарочный сертификат {code}. Код CVC: {cvc}. Никому его не сообщайте.",  # noqa: RUF001 - Russian
    "en": "Gift certificate {code}. CVC: {cvc}. Do not share it with anyone.",
}

_logger = logging.getLogger(__name__)


class Issuer:
    """The digits exist in the clear only in here and in the SMS itself."""

    def __init__(self, vault: Vault) -> None:
        self._vault = vault
        self._met: set[int] = set()
        """Numbers of later peppers that digests were found under."""
        self._reported: set[int] = set()
        """Those that gateways lacked, and operators were told of."""

    def require_pepper(self, given: bytes, kept: bytes | None) -> None:
        """See that a CVC can be compared with that of a certificate, before anything is said of either.

        A request has to have digests under all peppers that are known here to be in use, whatever its certificate
        needs: otherwise the answer would tell which codes exist.

        Args:
            given: digests of the CVC that was typed (:mod:`ledger.peppers`).
            kept: digest of the certificate's; ``None`` if it has none.

        Raises:
            PepperMissingError: the gateway lacks one of them.
        """
        if kept is not None and (under := peppers.pepper_of(kept)) != peppers.FIRST:
            self._met.add(under)
        current = self._vault.pepper
        if current == peppers.FIRST and not self._met:
            return
        missing = (self._met | {current}) - {peppers.pepper_of(one) for one in peppers.single(given)}
        if missing:
            for pepper in sorted(missing - self._reported):
                _logger.error("a gateway lacks the pepper %d: give it the secrets file that has it", pepper)
            self._reported |= missing
            raise PepperMissingError("The gateway lacks a pepper that CVCs are kept with; nothing happened.")

    def issue(self, code: str, recipient: bytes | None, key: KeyName | None, kept: bytes | None) -> IssuedCvc:
        """A fresh CVC for ``code``.

        Args:
            code: of the certificate.
            recipient: sealed.
            key: names the data key that he is sealed with, or where a tombstone would be (:mod:`persistence.envelope`).
            kept: what is kept under this name.

        Returns:
            The CVC with a sealed message; without one if there is no recipient, or he was forgotten.

        Raises:
            SealBrokenError: the vault lacks the key that it takes: it may be put back.
        """
        cvc = new_cvc()
        digest = self._vault.cvc_digest(code, cvc)
        if recipient is None or key is None or (kept is not None and envelope.is_forgotten(kept)):
            return IssuedCvc(digest)
        sealed_alone = envelope.key_of(recipient) is None
        if kept is None and not sealed_alone:
            # value that was paid for is issued all the same; `gift-ledger verify` finds this as well
            _logger.error("%s: the data key of its recipient is missing, and no SMS is sent", code)
            return IssuedCvc(digest)
        return IssuedCvc(digest, self._message(code, cvc, recipient, key, None if sealed_alone else kept))

    def _message(self, code: str, cvc: str, recipient: bytes, key: KeyName, kept: bytes | None) -> bytes:
        vault = self._vault
        opened = (
            vault.unseal(recipient, RECIPIENT) if kept is None else envelope.unseal(vault, recipient, RECIPIENT, kept)
        )
        to = msgspec.json.decode(opened, type=Recipient)
        language = (to.locale or "ru").partition("-")[0].lower()
        text = _TEXTS.get(language, _TEXTS["en"]).format(code=code, cvc=cvc)
        message = msgspec.json.encode(Sms(to=to.phone, text=text))
        # with the recipient's own key: once he is forgotten, no message to him can be read either
        return vault.seal(message, SMS) if kept is None else envelope.seal_again(vault, message, SMS, key, kept)
