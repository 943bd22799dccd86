"""What a check of the doctor says."""

from dataclasses import dataclass
from typing import Literal

Status = Literal["OK", "WARN", "FAIL"]


@dataclass(frozen=True)
class Check:
    """What was looked at, how it stands, and a sentence: what was found, and what to do unless it is OK."""

    name: str
    status: Status
    message: str


def gb(size: int) -> str:
    """Bytes in words."""
    return f"{size / 10**9:.1f} GB"
