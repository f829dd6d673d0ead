"""Specs as trees of plain values, before they are validated: YAML, dotted keys, near names."""

import difflib
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import yaml

from workers.errors import InputError

Tree = dict[str, Any]


class SpecError(InputError, ValueError):
    """The spec is not valid; the cause names the key and its value."""


def read_file(file: Path) -> Tree:
    """The mapping in a YAML file; empty for an empty file. Raises SpecError."""
    try:
        text = file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise SpecError(f"cannot read {file}: {error}", "check -c/--config") from error
    content = parse_yaml(text, str(file))
    if content is None:
        return {}
    if not isinstance(content, dict):
        raise SpecError(
            f"{file} holds a {type(content).__name__}, not a mapping of keys",
            "see rnnjob submit --print-config",
        )
    return content


def parse_yaml(text: str, where: str) -> Any:
    """The content of a YAML text. Raises SpecError, which names `where`."""
    try:
        return yaml.load(text, _Loader)  # a SafeLoader
    except (yaml.YAMLError, ValueError, KeyError, AttributeError, RecursionError) as error:
        # PyYAML lets errors of its constructors through: 2001-99-99, !!bool maybe
        raise SpecError(
            f"{where} is not valid YAML: {' '.join(str(error).split())[:300]}", "mend the YAML"
        ) from error


class _Loader(yaml.SafeLoader):
    """Numbers as in YAML 1.2: 2:4 is text and not 124 in base 60, 1e-3 is a number."""


_Loader.yaml_implicit_resolvers = {
    first: [(tag, form) for tag, form in forms if tag.rpartition(":")[2] not in ("int", "float")]
    for first, forms in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:int", re.compile(r"[-+]?(0|[1-9][0-9]*)$"), list("-+0123456789")
)
_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float",
    re.compile(
        r"([-+]?(\.[0-9]+|[0-9]+\.[0-9]*|[0-9]+(?=[eE]))([eE][-+]?[0-9]+)?"
        r"|[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN))$"
    ),
    list("-+0123456789."),
)


def merge(tree: Tree, more: Tree) -> None:
    """Puts `more` into `tree`, section by section."""
    for key, value in more.items():
        if isinstance(value, dict) and isinstance(tree.get(key), dict):
            merge(tree[key], value)
        else:
            tree[key] = value


def set_key(tree: Tree, dotted: str, value: Any) -> None:
    """Sets `a.b.c`, making the sections on the way. Raises SpecError where one is no section."""
    *parents, last = dotted.split(".")
    for parent in parents:
        tree = tree.setdefault(parent, {})
        if not isinstance(tree, dict):
            raise SpecError(
                f"'{dotted}' goes through '{parent}', which is no section",
                "see rnnjob submit --print-config",
            )
    if isinstance(value, dict) and isinstance(tree.get(last), dict):
        merge(tree[last], value)
    else:
        tree[last] = value


def leaves(tree: Any, prefix: str = "") -> list[str]:
    """Dotted keys of all values that are no mappings."""
    keys = []
    for key, value in tree.items():
        nested = isinstance(value, dict) and value
        keys += leaves(value, f"{prefix}{key}.") if nested else [f"{prefix}{key}"]
    return keys


def nearest(given: str, valid: Iterable[str]) -> str:
    """A cure for an unknown name: the valid one that it is likely to mean, or all of them."""
    valid = list(valid)
    # Compare last parts, too: `epochs` is meant for `training.epochs`.
    last = given.rpartition(".")[2]
    near = difflib.get_close_matches(given, valid, n=1, cutoff=0.7) or [
        name
        for name in valid
        if difflib.get_close_matches(last, [name.rpartition(".")[2]], cutoff=0.75)
    ]
    if near:
        return f"did you mean '{near[0]}'?"
    section = given.rpartition(".")[0]
    here = [name for name in valid if name.rpartition(".")[0] == section] or valid
    return "valid: " + ", ".join(here)
