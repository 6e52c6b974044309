"""How the simulated Outreach says no: JSON:API errors, and the other shapes of its gateway and its token endpoint."""

from __future__ import annotations

from typing import Any

from worker.sim.control import Reply, json_reply

JSON_API = "application/vnd.api+json"
TITLES = {
    "rateLimitExceeded": "Rate Limit Exceeded",
    "resourceNotFound": "Resource Not Found",
    "routeNotFound": "Route Not Found",
    "unauthorizedOauthScope": "Unauthorized OAuth Scope",
    "unsupportedMediaType": "Unsupported Media Type",
    "validationDataTooLongError": "Validation Data Too Long Error",
    "validationDuplicateValueError": "Validation Duplicate Value Error",
    "validationError": "Validation Error",
}


class Refusal(Exception):
    """The call is answered with ``status`` and ``document``."""

    def __init__(self, status: int, document: dict[str, Any], headers: list[tuple[str, str]] | None = None) -> None:
        """Keep the answer."""
        super().__init__(status, document)
        self.status, self.document, self.headers = status, document, headers or []

    def reply(self) -> Reply:
        """Return it as a reply."""
        reply = json_reply(self.status, self.document)
        kind = JSON_API if "errors" in self.document else "application/json; charset=utf-8"
        reply.headers = [("Content-Type", kind), *self.headers]
        return reply


def refusal(status: int, id: str | None, detail: str, *, pointer: str | None = None) -> Refusal:
    """Return a refusal with one JSON:API error. ``id`` None is a plain Bad Request."""
    error: dict[str, Any] = {"id": id, "title": TITLES[id], "detail": detail} if id else {"title": "Bad Request"}
    error["detail"] = detail
    if pointer is not None:
        error["source"] = {"pointer": pointer}
    return Refusal(status, {"errors": [error]})


def invalid(detail: str, pointer: str = "/data") -> Refusal:
    """Return the 422 of a value or precondition that does not hold."""
    return refusal(422, "validationError", detail, pointer=pointer)


def not_found(type_: str, id: object) -> Refusal:
    """Return the 404 of a record that is not there."""
    return refusal(404, "resourceNotFound", f"Could not find '{type_}' with ID '{id}'.")


def no_route(path: str) -> Refusal:
    """Return the 404 of a path that leads nowhere."""
    return refusal(404, "routeNotFound", f"The route '{path}' was not found.")


def gateway_401(words: str = "Invalid JWT token.", why: str = "The JWT token could not be decoded.") -> Refusal:
    """Return the 401 of the gateway, which is no JSON:API."""
    return Refusal(401, {"error": words, "description": why})


def oauth_error(error: str, why: str, status: int = 400) -> Refusal:
    """Return a refusal of the token endpoint, in RFC 6749's shape."""
    return Refusal(status, {"error": error, "error_description": why})
