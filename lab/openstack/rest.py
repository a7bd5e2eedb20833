"""A small client of OpenStack's APIs for the lab's own use, on the standard library alone."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from dataclasses import dataclass
from typing import Any

TIMEOUT_SECONDS = 60.0
Json = dict[str, Any]


class ApiError(RuntimeError):
    """An API's refusal. `status` is the HTTP status, 0 if no answer came."""

    def __init__(self, method: str, url: str, status: int, text: str) -> None:
        super().__init__(f"{method} {url} was answered with {status}: {text[:500]}")
        self.status = status


def call(method: str, url: str, body: Json | bytes | None = None, headers: dict[str, str] | None = None) -> Any:
    """Do one request; return the answer's JSON, or None if it has no body. Raises ApiError."""
    answer, _ = exchange(method, url, body, headers)
    return answer


def exchange(
    method: str, url: str, body: Json | bytes | None = None, headers: dict[str, str] | None = None
) -> tuple[Any, dict[str, str]]:
    """Do one request; return the answer's JSON (None without a body) and its headers in lower case. Raises ApiError."""
    data = json.dumps(body).encode() if isinstance(body, dict) else body
    kind = "application/json" if isinstance(body, dict) else "application/octet-stream"
    sent = {"Accept": "application/json", **({"Content-Type": kind} if data is not None else {}), **(headers or {})}
    request = urllib.request.Request(url, data, sent, method=method)  # noqa: S310 the URLs are the lab's own
    try:
        with urllib.request.urlopen(request, timeout=TIMEOUT_SECONDS) as answer:  # noqa: S310
            text = answer.read()
            received = {name.lower(): value for name, value in answer.headers.items()}
    except urllib.error.HTTPError as error:
        raise ApiError(method, url, error.code, error.read().decode(errors="replace")) from None
    except OSError as error:
        raise ApiError(method, url, 0, str(error)) from None
    return (json.loads(text) if text else None), received


@dataclass(frozen=True)
class Login:
    """A token with what it is for."""

    token: str
    user_id: str
    project_id: str

    def call(self, method: str, url: str, body: Json | bytes | None = None, microversion: str = "") -> Any:
        """Do one request with the token; `microversion` as in 'compute 2.60'. Raises ApiError."""
        headers = {"X-Auth-Token": self.token}
        if microversion:
            headers["OpenStack-API-Version"] = microversion
        return call(method, url, body, headers)


def log_in(identity_url: str, user: str, password: str, project: str) -> Login:
    """Log in by password. `identity_url` ends in /v3. Raises ApiError."""
    domain = {"id": "default"}
    body = {
        "auth": {
            "identity": {
                "methods": ["password"],
                "password": {"user": {"name": user, "password": password, "domain": domain}},
            },
            "scope": {"project": {"name": project, "domain": domain}},
        }
    }
    answer, headers = exchange("POST", f"{identity_url}/auth/tokens", body)
    token = answer["token"]
    return Login(headers["x-subject-token"], token["user"]["id"], token["project"]["id"])
