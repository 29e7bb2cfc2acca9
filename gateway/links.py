"""Where an answer leads: the calls that take what it gave, as the documentation tells them (OpenAPI links)."""

from typing import Any, Final

from gateway.access import Call


def _leads_to(call: Call, field: str, given: str, description: str) -> dict[str, Any]:
    """A link to ``call`` on the same certificate, whose ``field`` is what the answer ``given``."""
    return {
        "operationId": call.value,
        "parameters": {"code": "$request.path.code"},
        "requestBody": {field: f"$response.body#/{given}"},
        "description": description,
    }


LINKS: Final[dict[tuple[Call, int], dict[str, Any]]] = {
    (Call.AUTHORIZE, 201): {
        "capture": _leads_to(Call.CAPTURE, "authorizationId", "authorizationId", "Take the money that is held."),
        "void": _leads_to(Call.VOID, "operationId", "authorizationId", "Release the money that is held."),
    },
    (Call.CAPTURE, 201): {
        "void": _leads_to(Call.VOID, "operationId", "operationId", "Put the money back that was taken."),
    },
}
"""By call and status; under names that are each answer's own."""
