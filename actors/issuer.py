"""Makes CVCs, and the messages that bring them to the recipient."""

from typing import Final

import msgspec

from ledger.commands import IssuedCvc
from persistence.vault import RECIPIENT, SMS, Recipient, Sms, Vault, new_cvc

_TEXTS: Final = {
    "ru": "Подарочный сертификат {code}. Код CVC: {cvc}. Никому его не сообщайте.",  # noqa: RUF001 - Russian
    "en": "Gift certificate {code}. CVC: {cvc}. Do not share it with anyone.",
}


class Issuer:
    """The digits exist in the clear only in here and in the SMS itself."""

    def __init__(self, vault: Vault) -> None:
        self._vault = vault

    def issue(self, code: str, recipient: bytes | None) -> IssuedCvc:
        """A fresh CVC for ``code``, with a sealed message if there is a (sealed) recipient."""
        cvc = new_cvc()
        digest = self._vault.cvc_digest(code, cvc)
        if recipient is None:
            return IssuedCvc(digest)
        to = msgspec.json.decode(self._vault.unseal(recipient, RECIPIENT), type=Recipient)
        language = (to.locale or "ru").partition("-")[0].lower()
        text = _TEXTS.get(language, _TEXTS["en"]).format(code=code, cvc=cvc)
        message = msgspec.json.encode(Sms(to=to.phone, text=text))
        return IssuedCvc(digest, self._vault.seal(message, SMS))
