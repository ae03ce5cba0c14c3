"""Expand a matrix: substitute ``${...}`` in steps for every combination of named values.

Works on plain YAML data and knows nothing of steps.  Expressions are integers, names, ``+ - * // % << >> &``
and parentheses, evaluated over their syntax tree; nothing of Python can be called or reached.
"""

from __future__ import annotations

import ast
import itertools
import keyword
import operator
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import lru_cache

#: at most so many combinations in one scenario: a typing error must not fill the memory
MAX_COMBINATIONS = 100_000
#: no shift and no product in an expression may need more bits
MAX_BITS = 128
#: characters of an expression: Python reads deep ones by recursion, which has an end
MAX_LENGTH = 200

_HOLE = re.compile(r"\$\{([^}]*)\}")

_BINARY: Mapping[type[ast.operator], Callable[[int, int], int]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.FloorDiv: operator.floordiv,
    ast.Mod: operator.mod,
    ast.LShift: operator.lshift,
    ast.RShift: operator.rshift,
    ast.BitAnd: operator.and_,
}


class BadTemplate(ValueError):
    """A substitution that cannot be carried out; ``path`` leads to it, keys and indices from the outside."""

    def __init__(self, message: str, path: tuple[str | int, ...] = ()) -> None:
        super().__init__(message)
        self.path = path


#: the value of something, given the matrix's names
Evaluate = Callable[[Mapping[str, object]], object]


@lru_cache(maxsize=4096)
def expression(text: str) -> Evaluate:
    """``text`` as a function of the names it uses; raises :class:`BadTemplate` when it is none."""
    if len(text) > MAX_LENGTH:
        raise BadTemplate(f"${{{text[:20]}...}} is an expression of more than {MAX_LENGTH} characters")
    try:
        tree = ast.parse(text.strip(), mode="eval")
    except (SyntaxError, ValueError) as error:
        raise BadTemplate(f"${{{text}}} is no expression") from error
    return _compile(tree.body, text)


def _compile(node: ast.expr, text: str) -> Evaluate:
    match node:
        case ast.Constant(value=int(value)) if not isinstance(value, bool):
            return lambda names: value
        case ast.Name(id=name):
            return lambda names: _name(names, name)
        case ast.UnaryOp(op=ast.USub(), operand=operand):
            inner = _compile(operand, text)
            return lambda names: -_integer(inner(names), text)
        case ast.BinOp(left=left, op=operation, right=right) if type(operation) in _BINARY:
            apply = _BINARY[type(operation)]
            first, second = _compile(left, text), _compile(right, text)
            return lambda names: _apply(
                apply, _integer(first(names), text), _integer(second(names), text), text
            )
    raise BadTemplate(
        f"${{{text}}} may only hold integers, names, + - * // % << >> & and parentheses "
        f"(it has {type(node).__name__})"
    )


def _name(names: Mapping[str, object], name: str) -> object:
    if name not in names:
        raise BadTemplate(f"${{{name}}} is not in the matrix, which has {', '.join(names) or 'no names'}")
    return names[name]


def _integer(value: object, text: str) -> int:
    if isinstance(value, str) and re.fullmatch(r"0[xX][0-9a-fA-F]+", value):
        return int(value, 16)
    if not isinstance(value, int) or isinstance(value, bool):
        raise BadTemplate(f"${{{text}}} calculates with {value!r}, which is no integer")
    return value


def _apply(apply: Callable[[int, int], int], left: int, right: int, text: str) -> int:
    if apply is operator.lshift and right > MAX_BITS:
        raise BadTemplate(f"${{{text}}} shifts by {right} bits; at most {MAX_BITS} are allowed")
    try:
        value = apply(left, right)
    except (ArithmeticError, ValueError) as error:
        raise BadTemplate(f"${{{text}}}: {error}") from error
    if value.bit_length() > MAX_BITS:
        raise BadTemplate(f"${{{text}}} needs more than {MAX_BITS} bits")
    return value


def template(data: object, path: tuple[str | int, ...] = ()) -> Evaluate | None:
    """``data`` as a function of the names in its holes; ``None`` when it has no hole.

    A string that is one hole becomes the value itself, of any type; holes within a longer string are
    replaced by the value's decimal text.  Parts without holes are shared by all results.
    """
    if isinstance(data, str):
        return _string(data, path) if "${" in data else None
    if isinstance(data, Mapping):
        fields = {key: template(value, (*path, str(key))) for key, value in data.items()}
        if not any(fields.values()):
            return None
        return lambda names: {
            key: data[key] if evaluate is None else evaluate(names) for key, evaluate in fields.items()
        }
    if isinstance(data, list):
        items = [template(value, (*path, index)) for index, value in enumerate(data)]
        if not any(items):
            return None
        return lambda names: [
            value if evaluate is None else evaluate(names)
            for value, evaluate in zip(data, items, strict=True)
        ]
    return None


def _string(text: str, path: tuple[str | int, ...]) -> Evaluate:
    try:
        # literal and expression alternate; the literals come first and last
        parts = _HOLE.split(text)
        holes = [expression(hole) for hole in parts[1::2]]
    except BadTemplate as error:
        raise BadTemplate(str(error), path) from error
    if not holes:
        raise BadTemplate(f"{text!r} opens a substitution that is not closed", path)

    def evaluate(names: Mapping[str, object]) -> object:
        try:
            values = [hole(names) for hole in holes]
        except BadTemplate as error:
            raise BadTemplate(str(error), path) from error
        if parts[0] == parts[-1] == "" and len(values) == 1:
            return values[0]
        filled = [*(str(value) for value in values), ""]
        return "".join(part + value for part, value in zip(parts[::2], filled, strict=True))

    return evaluate


def values(entry: object) -> Sequence[object]:
    """The values of one matrix entry: a list, or ``{range: [start, stop, step]}`` as Python's range.

    Raises :class:`BadTemplate` for anything else and for an entry without values.
    """
    found: Sequence[object] = ()
    match entry:
        case [*items]:
            found = items
        case {"range": [*bounds], **others} if not others:
            if not 1 <= len(bounds) <= 3 or not all(type(bound) is int for bound in bounds):
                raise BadTemplate("range takes one to three integers: [start, stop, step]", ("range",))
            if len(bounds) == 3 and bounds[2] == 0:
                raise BadTemplate("range needs a step other than 0", ("range",))
            found = range(*bounds)
        case _:
            raise BadTemplate("must be a list of values or {range: [start, stop, step]}")
    if not found:
        raise BadTemplate("has no values")
    return found


def combinations(matrix: Mapping[str, object]) -> Iterator[dict[str, object]]:
    """Every combination of the matrix's values, the last name varying fastest, each with its ``index``.

    Raises :class:`BadTemplate` for entries without values, reserved names and more than
    :data:`MAX_COMBINATIONS` combinations.
    """
    lists = []
    total = 1
    for name, entry in matrix.items():
        if not str(name).isidentifier() or keyword.iskeyword(str(name)) or name == "index":
            raise BadTemplate(f"{name!r} cannot name a value of the matrix", (name,))
        try:
            lists.append(values(entry))
        except BadTemplate as error:
            raise BadTemplate(f"matrix entry {name!r}: {error}", (name, *error.path)) from error
        total *= len(lists[-1])
    if total > MAX_COMBINATIONS:
        raise BadTemplate(f"the matrix has {total} combinations; at most {MAX_COMBINATIONS} are allowed")
    for index, chosen in enumerate(itertools.product(*lists)):
        yield {**dict(zip(matrix, chosen, strict=True)), "index": index}
