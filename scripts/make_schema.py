"""Write orchestrator/spec/job.schema.json: the JSON schema of a spec, for editors and for the
command `rnnjob init`.

The descriptions are the texts below the fields. pydantic could take them at import, but that
would parse the sources in every process.
"""

import ast
import inspect
import json
import textwrap
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from orchestrator.spec.job_spec import JobSpec

FILE = Path(__file__).parent.parent / "orchestrator" / "spec" / "job.schema.json"
_LIMITS = {"ge": "minimum", "gt": "exclusiveMinimum", "le": "maximum", "lt": "exclusiveMaximum"}


def sections(model: type[BaseModel]) -> dict[str, type[BaseModel]]:
    """Return a model and the models of its sections, by their names."""
    found = {model.__name__: model}
    for field in model.model_fields.values():
        if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
            found |= sections(field.annotation)
    return found


def descriptions(model: type[BaseModel]) -> dict[str, str]:
    """Return the texts below the fields of a model and of the models that it extends."""
    found: dict[str, str] = {}
    for base in reversed([each for each in model.__mro__ if issubclass(each, BaseModel)]):
        if base is BaseModel:
            continue
        (tree,) = ast.parse(textwrap.dedent(inspect.getsource(base))).body
        assert isinstance(tree, ast.ClassDef)
        for field, text in zip(tree.body, tree.body[1:], strict=False):
            is_text = isinstance(text, ast.Expr) and isinstance(text.value, ast.Constant)
            if is_text and isinstance(field, ast.AnnAssign) and isinstance(field.target, ast.Name):
                found[field.target.id] = " ".join(text.value.value.split())
    return found


def tidied(schema: Any) -> Any:
    """Return a schema without titles, and with limits under the names that JSON schemas have."""
    if isinstance(schema, list):
        return [tidied(each) for each in schema]
    if not isinstance(schema, dict):
        return schema
    return {
        _LIMITS.get(key, key): tidied(value)
        for key, value in schema.items()
        if not (key == "title" and isinstance(value, str))
    }


def render() -> str:
    """Return the text of the file."""
    schema = JobSpec.model_json_schema()
    for name, model in sections(JobSpec).items():
        properties = (schema if name == "JobSpec" else schema["$defs"][name])["properties"]
        texts = descriptions(model)
        for key, each in properties.items():
            if key in texts:
                each["description"] = texts[key]
            if "$ref" in each:  # a section, which may be empty
                section = schema["$defs"][each["$ref"].rpartition("/")[2]]
                text = " ".join(section["description"].split())
                properties[key] = {
                    "description": text,
                    "anyOf": [{"$ref": each["$ref"]}, {"type": "null"}],
                }
    whole = {"$schema": "https://json-schema.org/draft/2020-12/schema", **tidied(schema)}
    whole["description"] = "A job of rnnjob: rnnjob submit -c FILE"
    return json.dumps(whole, indent=1, ensure_ascii=False) + "\n"


if __name__ == "__main__":
    FILE.write_text(render(), encoding="utf-8")
