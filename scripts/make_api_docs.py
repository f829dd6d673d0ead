"""Write docs/api.md from the docstrings of what `orchestrator.__all__` names.

By hand, because pdoc and Sphinx make web pages, and the docs here are Markdown. A unit test fails
if the page is out of date, and `python scripts/make_api_docs.py` writes it again.
"""

import ast
import inspect
import re
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import orchestrator
import workers.errors

PAGE = Path(__file__).parent.parent / "docs" / "api.md"
HEAD = """# Python

<!-- Made from the docstrings by scripts/make_api_docs.py. Do not edit it here. -->

For scripts and notebooks. `from orchestrator import ...` has the names on this page, and nothing
else is public. They are typed (`py.typed`). Importing them loads neither torch nor Ray.

```python
from orchestrator import submit

run = submit({"dataset.name": "mnist-sample", "training.epochs": 10}, local=True)
run.wait()  # shows a progress bar on a terminal, and a live display in a notebook
run.result["test_accuracy"]  # 0.955, and a notebook shows `run` as a table
run.metrics.to_pandas().plot("step", "loss")
model = run.model()  # a plain torch.nn.Module with the final weights
```

With `workers=2` instead of `local=True`, the same job runs on a Ray that is started for it on this
machine; with `address="http://head:8265"` on a cluster. The weights are the same, bit for bit.
"""
ORDER = ("submit", "open_run", "list_runs", "Run", "Report", "RunStatus", "build_spec", "JobSpec")


def render() -> str:
    """Return the page."""
    others = sorted(set(orchestrator.__all__) - {*ORDER, "JobError"})
    parts = [HEAD, *(_named(name, getattr(orchestrator, name)) for name in [*ORDER, *others])]
    return "\n".join([*parts, _errors()])


def members(cls: type) -> Iterator[tuple[str, Any]]:
    """Yield the public methods and properties that a class or a base of ours defines, in order."""
    for base in cls.__mro__:
        if not base.__module__.startswith(("orchestrator.", "workers.")):
            continue
        for name, member in vars(base).items():
            if not name.startswith("_") and (
                inspect.isfunction(member) or isinstance(member, property)
            ):
                yield name, member


def fields(cls: type) -> list[tuple[str, str, str]]:
    """Return name, type and docstring of the attributes that a class declares."""
    body = _definition(cls).body
    found = []
    for node, behind in zip(body, [*body[1:], None], strict=True):
        if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            text = ast.get_docstring(ast.Module([behind], [])) if behind else None
            if not node.target.id.startswith("_"):
                found.append((node.target.id, ast.unparse(node.annotation), text or ""))
    return found


def _named(name: str, value: Any) -> str:
    if inspect.isfunction(value):
        return f"## `{name}`\n\n{_function(name, value)}"
    parts = [f"## `{name}`\n", _prose(_doc(value))]
    if listed := fields(value):
        parts.append("\n".join(_field(*field) for field in listed) + "\n")
    if name == "JobSpec":
        parts.append("[spec.md](spec.md) explains each key.\n")
    for member_name, member in members(value):
        if isinstance(member, property):
            parts.append(f"### `{name}.{member_name}`: `{_returns(member.fget)}`\n")
            parts.append(_prose(_doc(member)))
        else:
            parts.append(f"### `{name}.{member_name}`\n\n{_function(member_name, member)}")
    return "\n".join(parts)


def _function(name: str, function: Any) -> str:
    return f"```python\n{_signature(name, function)}\n```\n\n{_prose(_doc(function))}"


def _signature(name: str, function: Any) -> str:
    """Return the signature as it is written, one parameter a line if it is long."""
    arguments = _definition(function).args
    for listed in (arguments.posonlyargs, arguments.args):
        listed[:] = [argument for argument in listed if argument.arg != "self"]
    text = re.sub(r"(?<=[\w\]])=(?=\S)", " = ", ast.unparse(arguments))
    line = f"{name}({text}) -> {_returns(function)}"
    if len(line) > 90:
        broken = re.sub(r", (?=[a-z_]+:|\*|/)", ",\n    ", text)
        line = f"{name}(\n    {broken},\n) -> {_returns(function)}"
    return _unquoted(line)


def _returns(function: Any) -> str:
    returns = _definition(function).returns
    return _unquoted(ast.unparse(returns)) if returns else "None"


def _definition(value: Any) -> Any:
    return ast.parse(textwrap.dedent(inspect.getsource(value))).body[0]


def _unquoted(text: str) -> str:
    return re.sub(r"'([A-Za-z_.]+)'", r"\1", text)


def _field(name: str, kind: str, text: str) -> str:
    kind = re.sub(r"Annotated\[(\w+), .*\]", r"\1", kind)
    return f"- `{name}: {kind}`" + (f": {' '.join(text.split())}" if text else "")


def _doc(value: Any) -> str:
    doc = inspect.getdoc(value)
    assert doc, f"{value} has no docstring"
    return doc


def _prose(doc: str) -> str:
    """Return a docstring as Markdown: its arguments become a list."""
    text = re.sub(r"(?m)^(Args|Returns|Raises):\n", r"**\1**\n\n", doc)
    text = re.sub(r"(?m)^    (\w+): ", r"- `\1`: ", text)
    return re.sub(r"(?m)^ {8}", "  ", text) + "\n"


def _errors() -> str:
    tree = inspect.getdoc(workers.errors) or ""
    tree = tree.partition("::\n\n")[2].partition("\n\n")[0]
    return (
        f"## `JobError`\n\n{_prose(_doc(orchestrator.JobError))}\n"
        "Every refusal and failure is one, in this tree (`workers.errors`):\n\n"
        f"```text\n{textwrap.dedent(tree)}\n```\n"
    )


if __name__ == "__main__":
    PAGE.write_text(render(), encoding="utf-8")
