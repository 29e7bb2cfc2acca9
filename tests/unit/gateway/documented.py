"""Holds every response of the tests against the OpenAPI document."""

from __future__ import annotations

import json
import re
from typing import Any

from jsonschema import Draft202012Validator
from referencing import Registry
from referencing.jsonschema import DRAFT202012

PROBLEM = "application/problem+json"
ANYWHERE = {"NotFound", "MethodNotAllowed", "InternalError", "Overloaded"}
"""Problems of addresses and methods that no call stands for, and of the whole gateway."""


class Documented:
    """The document as a judge."""

    def __init__(self, document: dict[str, Any]) -> None:
        self._document = document
        root = DRAFT202012.create_resource(document)
        self._registry: Registry[Any] = Registry().with_resource("urn:openapi", root)
        self._paths = [
            (re.compile(re.sub(r"\{\w+\}", "[^/]+", path)), methods) for path, methods in document["paths"].items()
        ]
        self._validators: dict[str, Draft202012Validator] = {}

    def check(self, method: str, path: str, status: int, headers: dict[str, str], content: bytes) -> None:
        """Fail if the response is not as documented."""
        assert headers.get("x-request-id"), "every response has a request id"
        if status not in {204, 304} and method != "HEAD":
            assert headers["content-length"] == str(len(content))
        else:
            assert content == b""
        media = headers.get("content-type")
        if media == PROBLEM and method != "HEAD":
            self._check_problem(status, headers, content)
        operation = self._operation("GET" if method == "HEAD" else method, path)
        if operation is None:
            return
        if media == PROBLEM and method != "HEAD" and json.loads(content)["code"] in ANYWHERE:
            return
        response = operation["responses"].get(str(status))
        assert response is not None, f"{method} {path} answers {status}, which is not documented"
        documented = {name.lower() for name in response["headers"]}
        for name in (
            "idempotency-replayed",
            "retry-after",
            "www-authenticate",
            "etag",
            "ratelimit",
            "ratelimit-policy",
        ):
            assert name not in headers or name in documented, f"{name} is not documented for {status}"
        if media is None:
            assert "content" not in response
            return
        assert media in response["content"], f"{media} is not documented for {status}"
        if media.endswith("json") and method != "HEAD":
            self.validate(response["content"][media]["schema"], json.loads(content))

    def validate(self, schema: dict[str, Any], instance: object) -> None:
        """Fail if the instance does not fit a schema of the document."""
        text = json.dumps(schema)
        validator = self._validators.get(text)
        if validator is None:
            absolute = json.loads(text.replace('"#/', '"urn:openapi#/'))
            validator = self._validators[text] = Draft202012Validator(absolute, registry=self._registry)
        validator.validate(instance)

    def _check_problem(self, status: int, headers: dict[str, str], content: bytes) -> None:
        body = json.loads(content)
        self.validate({"$ref": "#/components/schemas/Problem"}, body)
        assert body["status"] == status
        assert body["type"] == f"/schema#{body['code']}"
        assert ("retryAfter" in body) == ("retry-after" in headers)
        if "retryAfter" in body:
            assert headers["retry-after"] == str(body["retryAfter"])
        assert (status == 401) == ("www-authenticate" in headers)
        assert (status == 405) == ("allow" in headers)

    def _operation(self, method: str, path: str) -> dict[str, Any] | None:
        for pattern, methods in self._paths:
            if pattern.fullmatch(path):
                found: dict[str, Any] | None = methods.get(method.lower())
                return found
        return None
