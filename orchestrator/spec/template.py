"""The text of a job.yaml to begin with: some keys are set, the others are comments with defaults.

The descriptions are those of job.schema.json, which `scripts/make_schema.py` makes from the texts
below the fields of a spec.
"""

import json
import textwrap
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml

from orchestrator.spec.tree import Tree

SCHEMA_FILE = Path(__file__).with_name("job.schema.json")
_WIDTH = 96
_NOT_BY_HAND = {"dataset.prepared", "dataset.fingerprint", "training.earlier_ends",
                "model.code_sha256"}  # fmt: skip
"""Keys that rnnjob writes itself."""


def schema_text() -> str:
    """Return the JSON schema of a spec."""
    return SCHEMA_FILE.read_text(encoding="utf-8")


def job_template(values: Mapping[str, Any], next_step: str) -> str:
    """Return the text of a spec file with every key.

    Args:
        values: what is set, by dotted key.
        next_step: the command that the first lines name.
    """
    schema = json.loads(schema_text())
    head = (
        f"# yaml-language-server: $schema={SCHEMA_FILE.as_uri()}\n"
        "# That line lets an editor complete and check keys; rnnjob init --print-schema prints\n"
        "# the schema, to keep it elsewhere.\n#\n"
        f"# A job of rnnjob. To run it:  {next_step}\n"
        "# Lines with one # are defaults: to change one, remove the # and the space behind it.\n"
    )
    return head + "\n".join(_section(schema, schema, dict(values), "", "")) + "\n"


def _section(
    schema: Tree, section: Tree, values: dict[str, Any], prefix: str, indent: str
) -> Iterator[str]:
    """Yield the lines of a section: first the keys that are set, then the others."""
    properties: dict[str, Tree] = section["properties"]
    for key in sorted(properties, key=lambda key: not _is_set(f"{prefix}{key}", values)):
        each, dotted = properties[key], f"{prefix}{key}"
        if dotted in _NOT_BY_HAND:
            continue
        inner = _inner_section(schema, each)
        yield ""
        yield from _comment(each, indent)
        if inner:
            yield f"{indent}{key}:"
            yield from _section(schema, inner, values, f"{dotted}.", f"{indent}  ")
        elif dotted in values:
            yield f"{indent}{key}: {_value(values[dotted])}"
        else:
            yield f"{indent}# {key}: {_value(each.get('default', {}))}"


def _is_set(dotted: str, values: Mapping[str, Any]) -> bool:
    return any(f"{name}.".startswith(f"{dotted}.") for name in values)


def _inner_section(schema: Tree, each: Tree) -> Tree | None:
    ref = next((one["$ref"] for one in each.get("anyOf", ()) if "$ref" in one), None)
    found: Tree | None = schema["$defs"][ref.rpartition("/")[2]] if ref else None
    return found if found and "properties" in found else None


def _comment(each: Tree, indent: str) -> list[str]:
    """Return the description and the allowed words, as comments that are no keys."""
    text = each.get("description", "")
    words = [word for one in (each, *each.get("anyOf", ())) for word in one.get("enum", ())]
    if words and not all(f"`{word}`" in text for word in words):
        text += f" One of: {', '.join(map(str, words))}."
    return textwrap.wrap(
        text, _WIDTH, initial_indent=f"{indent}## ", subsequent_indent=f"{indent}## "
    )


def _value(value: Any) -> str:
    """Return a value as it is written behind a key, on one line."""
    text = yaml.safe_dump(value, default_flow_style=True, sort_keys=False, width=10**6)
    return text.removesuffix("\n").removesuffix("\n...")
