"""Checks shapes at run time: what the import hook puts on every function and dataclass of the package.

Only annotations that speak of arrays are checked. The rest is the static type checker's business, which understands
more of it (``Self``, arrays of any dtype).
"""

from collections.abc import Callable
from typing import Any, TypeVar, get_args

from beartype import BeartypeConf, beartype
from jaxtyping import AbstractArray

F = TypeVar("F", bound=Callable[..., Any])

_check = beartype(conf=BeartypeConf(is_pep484_tower=True))  # an int may stand for a float (PEP 484)


def speaks_of_arrays(hint: object) -> bool:
    """Whether a jaxtyping annotation is in it, also within unions and containers."""
    if isinstance(hint, type) and issubclass(hint, AbstractArray):
        return True
    return any(speaks_of_arrays(part) for part in get_args(hint))


def check(function: F) -> F:
    """``function`` with its array annotations checked at each call."""
    hints = function.__annotations__
    function.__annotations__ = {name: hint for name, hint in hints.items() if speaks_of_arrays(hint)}
    try:
        return _check(function)
    finally:
        function.__annotations__ = hints
