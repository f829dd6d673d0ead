"""Specs as trees of plain values, before they are validated: YAML, dotted keys, near names."""

import difflib
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import yaml

from workers.errors import InputError

Tree = dict[str, Any]
_MAX_VALUES = 10_000
"""Far more than a spec has keys. Aliases unfold: ten lines can stand for billions of values."""
_MERGE = "tag:yaml.org,2002:merge"
_NOT_RESOLVED = ("int", "float", "timestamp")
"""By their look, as YAML 1.1 has it."""


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


def parse_assignment(assignment: str) -> tuple[str, Any]:
    """Key and value of an `a.b=value`, the value read as YAML. Raises SpecError."""
    key, equals, text = assignment.partition("=")
    if not equals or not key:
        raise SpecError(
            f"--set '{short(assignment)}' is not of the form a.b=value",
            "for example --set training.epochs=3",
        )
    return key.strip(), parse_yaml(text, f"--set {short(key)}")


def short(text: str, length: int = 200) -> str:
    """As much of what somebody gave as belongs into a line."""
    return text if len(text) <= length else f"{text[:length]}..."


class _Loader(yaml.SafeLoader):
    """Numbers as in YAML 1.2: 2:4 is text and not 124 in base 60, 1e-3 is a number. A date is text,
    a key stands once, and a small file cannot unfold into a huge tree."""

    def get_single_node(self) -> yaml.Node | None:
        root = super().get_single_node()
        if root is not None:
            _check_nodes(root)
        return root


def _check_nodes(root: yaml.Node) -> None:
    """Counts the nodes as often as they are referred to, and so ends in a tree that holds itself.

    Raises YAMLError.
    """
    left, num_values = [root], 1
    while left:
        node = left.pop()
        children = _children(node)
        num_values += len(children)
        if num_values > _MAX_VALUES:
            raise _refusal(f"more than {_MAX_VALUES} values are no spec", node)
        left += children


def _children(node: yaml.Node) -> list[yaml.Node]:
    if isinstance(node, yaml.MappingNode):
        _check_keys([key for key, _ in node.value if key.tag != _MERGE])
        return [part for pair in node.value for part in pair]
    return node.value if isinstance(node, yaml.SequenceNode) else []


def _check_keys(keys: list[yaml.Node]) -> None:
    seen = set()
    for key in keys:
        if isinstance(key, yaml.ScalarNode):
            if key.value in seen:
                raise _refusal(f"the key '{short(key.value)}' stands twice", key)
            seen.add(key.value)


def _refusal(problem: str, node: yaml.Node) -> yaml.YAMLError:
    return yaml.constructor.ConstructorError(None, None, problem, node.start_mark)


_Loader.yaml_implicit_resolvers = {
    first: [(tag, form) for tag, form in forms if tag.rpartition(":")[2] not in _NOT_RESOLVED]
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
                f"'{short(dotted)}' goes through '{short(parent)}', which is no section",
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
    same = [name for name in valid if name.rpartition(".")[2] == last]
    near = same[:1] if len(same) == 1 else difflib.get_close_matches(given, valid, 1, cutoff=0.7)
    near = near or [
        name
        for name in valid
        if difflib.get_close_matches(last, [name.rpartition(".")[2]], cutoff=0.75)
    ]
    if near:
        return f"did you mean '{near[0]}'?"
    section = given.rpartition(".")[0]
    here = [name for name in valid if name.rpartition(".")[0] == section] or valid
    return "valid: " + ", ".join(here)
