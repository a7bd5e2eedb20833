"""What an answer of an OpenStack API says: its object, or the fault that its status names, and how long to wait."""

from __future__ import annotations

import re
from collections.abc import Callable
from email.utils import parsedate_to_datetime
from typing import Any, Never

from ehoslite.clouds.console import brief
from ehoslite.errors import BadRequest, CloudFault, CloudUnreachable, Gone, NoCapacity
from ehoslite.resources import UNLIMITED

REPEATABLE = {429, 500, 502, 503, 504}


class Again(Exception):
    """May be repeated; `fault` is what to raise when it is not."""

    def __init__(self, fault: CloudFault, after: float | None = None) -> None:
        self.fault = fault
        self.after = after


def body_of(answer: Any, what: str) -> dict[str, Any]:
    """The reply's object, or the fault that its status names."""
    status = answer.status_code
    if status < 400:
        return _read(answer, what)
    said = _said(answer)
    if status == 404:
        raise Gone(f"{what}: {said}")
    if status in {401, 407}:
        raise CloudUnreachable(f"{what}: the token is refused: {said}", "unauthorized")
    over = r"quota" if status == 409 else r"quota|exceeded|limit"  # Neutron says 409, Nova 403, Cinder 413
    if status in {403, 409, 413} and re.search(over, said, re.IGNORECASE):
        raise NoCapacity(said, "quota")
    if status == 413:
        raise Again(CloudUnreachable(f"{what}: throttled: {said}", "throttled"), retry_after(answer))
    if status in REPEATABLE:
        text = f"{what}: status {status}: {said}"
        throttled = CloudUnreachable(text, "throttled")
        raise Again(throttled if status == 429 else CloudUnreachable(text, "server-error"), retry_after(answer))
    raise BadRequest(f"{what}: status {status}: {said}")


def _read(answer: Any, what: str) -> dict[str, Any]:
    if not answer.content:
        return {}
    try:
        body = answer.json(parse_constant=_refuse, parse_int=_read_number(int), parse_float=_read_number(float))
    except (ValueError, RecursionError) as error:  # the latter for what is nested thousands deep
        raise Again(CloudUnreachable(f"{what}: the answer is cut off or no JSON", "server-error")) from error
    if not isinstance(body, dict):
        raise Again(CloudUnreachable(f"{what}: the answer is no object", "server-error"))
    return body


def _refuse(constant: str) -> Never:
    raise ValueError(f"{constant} is no JSON")


def _read_number(kind: Callable[[str], float]) -> Callable[[str], float]:
    """Reads numbers with which one can reckon: none is larger than what stands for no limit."""
    return lambda text: max(-UNLIMITED, min(UNLIMITED, kind(text)))


def retry_after(answer: Any) -> float | None:
    """The seconds that the answer asks to wait; None where it does not, or not readably."""
    value = str(answer.headers.get("Retry-After", ""))
    if re.fullmatch(r"\d{1,6}", value):
        return float(value)
    try:  # a moment; how far off it is, the answer's own Date tells: the clocks may differ
        until, now = (parsedate_to_datetime(text) for text in (value, str(answer.headers.get("Date", ""))))
        return max(0.0, (until - now).total_seconds())
    except (TypeError, ValueError, OverflowError):
        return None


def _said(answer: Any) -> str:
    """The message in an error's body. A refused creation may quote the whole user data, token and all: long runs of
    base64 are cut out."""
    try:
        body = answer.json()
        first = next(iter(body.values())) if isinstance(body, dict) and body else body
        text = first.get("message", first) if isinstance(first, dict) else first
    except (ValueError, RecursionError):
        text = answer.text
    return brief(text) or f"status {answer.status_code}"
