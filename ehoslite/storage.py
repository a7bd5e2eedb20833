"""A TinyDB storage that replaces its file in one step: temporary file, fsync, rename, fsync of the folder."""

from __future__ import annotations

import json
import os
from contextlib import suppress
from pathlib import Path
from typing import Any

from tinydb.storages import Storage


class AtomicJSONStorage(Storage):
    """JSON in a file with mode 0600. Killed at any point, the file is the old one or the new one, never a part."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def read(self) -> dict[str, dict[str, Any]] | None:
        """The documents; None when there is no file. Raises ValueError when it is not what `write` writes."""
        try:
            data = json.loads(self.path.read_text(encoding="utf-8") or "null")
        except FileNotFoundError:
            return None
        if data is None and self.path.is_char_device():
            return None
        if not isinstance(data, dict) or not all(isinstance(table, dict) for table in data.values()):
            raise ValueError("not a TinyDB file")
        return data

    def write(self, data: dict[str, dict[str, Any]]) -> None:
        """Replace the file."""
        self.path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        beside = self.path.with_name(f".{self.path.name}.new")
        beside.unlink(missing_ok=True)
        try:
            with os.fdopen(os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as file:
                json.dump(data, file, separators=(",", ":"))
                file.flush()
                os.fsync(file.fileno())
            beside.replace(self.path)
        except BaseException:
            with suppress(OSError):
                beside.unlink()  # a part of a file would only fill a full disk further
            raise
        folder = os.open(self.path.parent, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
