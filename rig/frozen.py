"""Small immutable objects, of which a campaign makes millions.

``dataclass(frozen=True)`` guards each at run time, which makes it take seven times as long to make.  Here the
type checker sees to it that nobody assigns to a field.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TypeVar, dataclass_transform

T = TypeVar("T")


@dataclass_transform(frozen_default=True, field_specifiers=(field,))
def frozen(cls: type[T]) -> type[T]:
    """A data class with slots and a hash whose fields are not to be assigned to."""
    return dataclass(slots=True, unsafe_hash=True)(cls)
