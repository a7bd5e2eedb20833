"""Texts of clouds and servers, made fit for logs and reports: one line, no control characters, no secrets."""

from __future__ import annotations

import re

LONGEST = 300
# Tokens, keys and user data are long runs of base64 or hexadecimal digits; words of a message are not.
SECRET = re.compile(r"[A-Za-z0-9+/=_.-]{64,}")
ESCAPE = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")


def brief(text: object) -> str:
    """One line of at most 300 characters, without what looks like a secret."""
    return _plain(text)[:LONGEST]


def last_words(log: str) -> str:
    """The end of a log as one such line."""
    return _plain(log)[-LONGEST:].strip()


def _plain(text: object) -> str:
    line = " ".join(ESCAPE.sub("", str(text)).split())
    return SECRET.sub("[...]", "".join(letter if letter.isprintable() else "?" for letter in line))
