"""Validate a tree of values against a model, and explain the first thing that is wrong with it."""

from collections.abc import Mapping
from typing import TypeVar

from pydantic import BaseModel, ValidationError

from orchestrator.spec.tree import SpecError, Tree, nearest, short

THE_SPEC = "the spec"
M = TypeVar("M", bound=BaseModel)


def validated(model: type[M], tree: Tree, origins: Mapping[str, str]) -> M:
    """Return the model of a tree of values.

    Args:
        origins: for a dotted key, what gave its value, for example the name of a file.

    Raises SpecError with one line of cause and one of cure.
    """
    try:
        return model.model_validate(tree)
    except ValidationError as error:
        raise _explained(model, error, origins) from None


def _explained(
    model: type[BaseModel], error: ValidationError, origins: Mapping[str, str]
) -> SpecError:
    valid_keys = dotted_keys(model)
    names = {part for dotted in valid_keys for part in dotted.split(".")}
    # A union reports an error for each of its members; the one with the shortest path says most.
    first = min(error.errors(), key=lambda e: (e["type"] != "extra_forbidden", len(e["loc"])))
    keys = [str(part) for part in first["loc"] if part in names]
    key, given = ".".join(keys), first["input"]
    dotted = ".".join(str(part) for part in first["loc"])
    where = _origin(dotted, origins)
    if first["type"] == "extra_forbidden":
        return SpecError(f"unknown key '{short(dotted)}' in {where}", nearest(dotted, valid_keys))
    message = first["msg"].removeprefix("Value error, ")
    cause, _, cure = message.partition(" | ")
    if cure or not key:
        return SpecError(cause, cure or "see rnnjob submit --print-config")
    wanted = "; ".join(
        dict.fromkeys(
            short(e["msg"].removeprefix("Value error, "))
            for e in error.errors()
            if e["loc"][: len(keys)] == first["loc"][: len(keys)]
        )
    )
    return SpecError(f"{key} is {short(repr(given))} in {where}", f"{key}: {wanted}")


def _origin(dotted: str, origins: Mapping[str, str]) -> str:
    """Return what gave a key, one of the keys below it, or the section that it is in."""
    return next(
        (
            by
            for name, by in origins.items()
            if f"{dotted}.".startswith(f"{name}.") or f"{name}.".startswith(f"{dotted}.")
        ),
        THE_SPEC,
    )


def without_empty_sections(model: type[BaseModel], tree: Tree) -> Tree:
    """Return a tree without sections that hold nothing, as if their keys are all comments."""
    kept: Tree = {}
    for key, value in tree.items():
        field = model.model_fields.get(key)
        section = field.annotation if field else None
        if isinstance(section, type) and issubclass(section, BaseModel):
            if isinstance(value, dict):
                value = without_empty_sections(section, value)
            elif value is None:
                continue
        kept[key] = value
    return kept


def dotted_keys(model: type[BaseModel], prefix: str = "") -> list[str]:
    keys = []
    for name, field in model.model_fields.items():
        keys.append(prefix + name)
        if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
            keys += dotted_keys(field.annotation, f"{prefix}{name}.")
    return keys
