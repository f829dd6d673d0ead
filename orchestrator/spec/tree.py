"""Specs as trees of plain values, before validation: YAML, dotted keys, similar names.

PyYAML's loader is made stricter here, instead of using ruamel.yaml: ten lines may not unfold into
billions of values, a key is given once, and an error names the nearest key.
"""

import difflib
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import yaml

from workers.errors import InputError

Tree = dict[str, Any]
_MAX_VALUES = 10_000
"""Far more values than a spec has keys. YAML aliases can expand ten lines to billions of values."""
_MERGE = "tag:yaml.org,2002:merge"
_NOT_RESOLVED = ("int", "float", "timestamp")
"""The types that are not recognised by the rules of YAML 1.1."""


class SpecError(InputError, ValueError):
    """The spec is not valid. The cause names the key and its value."""


def read_file(file: Path) -> Tree:
    """Return the mapping in a YAML file; empty for an empty file. Raises SpecError."""
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
    """Return the content of a YAML text. Raises SpecError, which names `where`."""
    try:
        return yaml.load(text, _Loader)  # a SafeLoader
    except (yaml.YAMLError, ValueError, KeyError, AttributeError, RecursionError) as error:
        # PyYAML does not convert errors of its constructors: 2001-99-99, !!bool maybe
        raise SpecError(
            f"{where} is not valid YAML: {' '.join(str(error).split())[:300]}", "correct the YAML"
        ) from error


def parse_assignment(assignment: str) -> tuple[str, Any]:
    """Return key and value of a text `a.b=value`; the value is read as YAML. Raises SpecError."""
    key, equals, text = assignment.partition("=")
    if not equals or not key:
        raise SpecError(
            f"--set '{short(assignment)}' is not of the form a.b=value",
            "for example --set training.epochs=3",
        )
    return key.strip(), parse_yaml(text, f"--set {short(key)}")


def short(text: str, length: int = 200) -> str:
    """Return a user's text, cut off if it is too long for a line of a message."""
    return text if len(text) <= length else f"{text[:length]}..."


class _Loader(yaml.SafeLoader):
    """A SafeLoader that reads numbers as in YAML 1.2 and is safe against hostile files.

    2:4 is text, not 124 in base 60; 1e-3 is a number; a date is text. A key must not be given
    twice, and a small file cannot expand into a huge tree.
    """

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self._num_nodes = 0

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:
        node = super().compose_node(parent, index)
        self._num_nodes += 1
        if node is not None and self._num_nodes > _MAX_VALUES:
            raise _refusal(f"it has more than {_MAX_VALUES} values", node)
        return node

    def get_single_node(self) -> yaml.Node | None:
        root = super().get_single_node()
        if root is not None:
            _check_nodes(root)
        return root


def _check_nodes(root: yaml.Node) -> None:
    """Raise YAMLError if the tree has too many values or a key is given twice.

    A node counts as often as it is referred to. So the check also ends for a tree that contains
    itself.
    """
    pending, num_values = [root], 1
    while pending:
        node = pending.pop()
        children = _children(node)
        num_values += len(children)
        if num_values > _MAX_VALUES:
            raise _refusal(f"it has more than {_MAX_VALUES} values", node)
        pending += children


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
                raise _refusal(f"the key '{short(key.value)}' is given twice", key)
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
    """Write the values of `more` into `tree`. Sections in both are merged, not replaced."""
    for key, value in more.items():
        if isinstance(value, dict) and isinstance(tree.get(key), dict):
            merge(tree[key], value)
        else:
            tree[key] = value


def set_key(tree: Tree, dotted: str, value: Any) -> None:
    """Set the value of a dotted key `a.b.c` and create the sections that are missing.

    Raises SpecError if a part of the key is a value and not a section.
    """
    *parents, last = dotted.split(".")
    for parent in parents:
        tree = tree.setdefault(parent, {})
        if not isinstance(tree, dict):
            raise SpecError(
                f"'{short(dotted)}' goes through '{short(parent)}', which is not a section",
                "see rnnjob submit --print-config",
            )
    if isinstance(value, dict) and isinstance(tree.get(last), dict):
        merge(tree[last], value)
    else:
        tree[last] = value


def leaves(tree: Any, prefix: str = "") -> list[str]:
    """Return the dotted keys of all values that are not sections."""
    keys = []
    for key, value in tree.items():
        is_section = isinstance(value, dict) and value
        keys += leaves(value, f"{prefix}{key}.") if is_section else [f"{prefix}{key}"]
    return keys


def nearest(given: str, valid: Iterable[str]) -> str:
    """Return the cure for an unknown name: the valid name that was probably meant, or all."""
    valid = list(valid)
    # Compare the last parts, too: who writes `epochs` means `training.epochs`.
    last = given.rpartition(".")[2]
    same_last = [name for name in valid if name.rpartition(".")[2] == last]
    near = (
        same_last if len(same_last) == 1 else difflib.get_close_matches(given, valid, 1, cutoff=0.7)
    )
    near = near or [
        name
        for name in valid
        if difflib.get_close_matches(last, [name.rpartition(".")[2]], cutoff=0.75)
    ]
    if near:
        return f"did you mean '{near[0]}'?"
    section = given.rpartition(".")[0]
    in_section = [name for name in valid if name.rpartition(".")[0] == section] or valid
    return "valid: " + ", ".join(in_section)
