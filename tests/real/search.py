"""Searches outputs for secrets, in all the forms in which something may write them by accident."""

from __future__ import annotations

import json
import re
from base64 import b64encode, urlsafe_b64encode
from typing import TYPE_CHECKING, Final
from urllib.parse import quote

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

WORD_BYTES_MIN: Final = 6
"""A shorter form would be found everywhere."""
_WRITTEN: Final = ("cvc: %s", "cvc:%s", 'cvc":"%s', 'cvc": "%s', "cvc': '%s", "cvc=%s", "cvc='%s", 'cvc="%s', "cvc %s")
"""How four digits stand where they are called what they are."""


def forms(content: bytes) -> dict[str, set[bytes]]:
    """What a secret looks like in an output, by the name of the form."""
    found: dict[str, set[bytes]] = {
        "raw": {content},
        "hex": {content.hex().encode(), content.hex().upper().encode()},
        "base64": {*_base64(content, urlsafe=False), *_base64(content, urlsafe=True)},
        "repr": {repr(content)[2:-1].encode()},
        "url": {quote(content, safe="").encode(), quote(content, safe="").lower().encode()},
    }
    try:
        text = content.decode()
    except UnicodeDecodeError:
        pass
    else:
        escaped = json.dumps(text)[1:-1]
        upper = re.sub(r"\\u[0-9a-f]{4}", lambda match: "\\u" + match[0][2:].upper(), escaped)
        found["json"] = {escaped.encode(), upper.encode(), json.dumps(escaped)[1:-1].encode()}
        found["utf-16"] = {text.encode("utf-16-le"), text.encode("utf-16-be")}
    return {name: {one for one in some if len(one) >= WORD_BYTES_MIN} for name, some in found.items()}


def _base64(content: bytes, *, urlsafe: bool) -> Iterator[bytes]:
    """The part of its base64 that is the same whatever stands around it, for each of the three places to begin at."""
    encode = urlsafe_b64encode if urlsafe else b64encode
    for before in range(3):
        text = encode(bytes(before) + content)
        # the first characters are also of what stands before, the last ones of what follows
        first = (8 * before + 5) // 6
        last = 8 * (before + len(content)) // 6
        yield text[first:last]


def cvc_contexts(cvc: str) -> list[bytes]:
    """Four digits with what says that they are a CVC: alone they stand everywhere."""
    written = [text % cvc for text in _WRITTEN]
    return [text.encode() for text in (*written, *(text.replace("cvc", "CVC", 1) for text in written))]


class Search:
    """Looks for secrets.

    Args:
        secrets: by a name that a report may show.
        cvcs: by the code of the certificate.
    """

    def __init__(self, secrets: Mapping[str, bytes], cvcs: Mapping[str, str]) -> None:
        contexts = [(f"CVC of {code}", context) for code, cvc in cvcs.items() for context in cvc_contexts(cvc)]
        self._needles = [
            (f"{name} as {form}", one)
            for name, secret in (*secrets.items(), *contexts)
            for form, some in forms(secret).items()
            for one in some
        ]
        self._beside = [
            (code, re.compile(rb"(?<![0-9A-Za-z])%b(?![0-9A-Za-z])" % cvc.encode())) for code, cvc in cvcs.items()
        ]

    def found(self, output: bytes) -> list[str]:
        """Names of the secrets that an output holds, each with its form."""
        hits = {name for name, needle in self._needles if needle in output}
        beside = [code for code, digits in self._beside if self._on_a_line(output, code.encode(), digits)]
        # one certificate's line may hold any four digits by chance, and not those of three
        if len(beside) >= min(3, len(self._beside)) and beside:
            hits.update(f"CVC of {code} beside its code" for code in beside)
        return sorted(hits)

    @staticmethod
    def _on_a_line(output: bytes, code: bytes, digits: re.Pattern[bytes]) -> bool:
        return any(digits.search(line.replace(code, b"")) for line in output.split(b"\n") if code in line)


def hits(search: Search, outputs: Mapping[str, bytes]) -> dict[str, Sequence[str]]:
    """By output, what is found in it; only those with something."""
    found = {name: search.found(content) for name, content in outputs.items()}
    return {name: secrets for name, secrets in found.items() if secrets}
