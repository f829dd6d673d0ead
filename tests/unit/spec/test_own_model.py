"""The keys of a spec that are about a model of the user's own, and its packages."""

from pathlib import Path
from typing import Any

import pytest

from orchestrator.spec.build import build_spec, load_spec
from orchestrator.spec.tree import SpecError
from workers.errors import InputError

DATA = "d" * 64
HASH = "a" * 64
OWN = "model.class_path=net.py:make"


def refused(*assignments: str) -> SpecError:
    with pytest.raises(SpecError) as caught:
        build_spec(assignments=assignments)
    assert "\n" not in caught.value.cause + caught.value.cure
    return caught.value


@pytest.mark.parametrize(
    "class_path",
    ["net.py:make", "/a b/c-d/net.py:Net.from_x", "~/net.py:_make", "pkg:Net", "pkg.sub.mod:Net"],
)
def test_a_name_in_a_file_or_a_module_is_taken(class_path: str) -> None:
    assert build_spec(flags={"model.class_path": class_path}).model.class_path == class_path


@pytest.mark.parametrize(
    "class_path",
    ["net.py", "net.py:", ":make", "net:1x", "a-b:Net", "a..b:Net", "net.py:a b", "", 3],
)
def test_another_form_is_refused(class_path: Any) -> None:
    with pytest.raises(SpecError) as caught:
        build_spec(flags={"model.class_path": class_path})
    assert caught.value.cause.startswith("model.class_path is")


def test_its_arguments_may_be_any_json_and_are_set_one_by_one() -> None:
    spec = build_spec(
        assignments=[OWN, "model.init_args={sizes: [1, 2], a: {b: null}}", "model.init_args.c=1e-3"]
    )
    assert spec.model.init_args == {"sizes": [1, 2], "a": {"b": None}, "c": 0.001}
    assert load_spec(spec.to_yaml(), "job.yaml") == spec


@pytest.mark.parametrize(
    ("assignments", "cause", "cure"),
    [
        (["model.init_args.a=1"], "none is named", "--model FILE.py:NAME"),
        ([f"model.code_sha256={HASH}"], "none is named", "--model FILE.py:NAME"),
        ([OWN, "model.init_args={a: .nan}"], "model.init_args is", "finite numbers"),
        ([OWN, "model.init_args={1: 2}"], "model.init_args is", "string"),
        ([OWN, "model.code_sha256=x"], "model.code_sha256 is", "pattern"),
        ([OWN, "model.hidden_size=3"], "model.hidden_size: keys of the built-in", "init_args"),
        (
            [OWN, "model.cell=gru", "model.dropout=0.1"],
            "model.cell, model.dropout: keys of the built-in models",
            "model.init_args.cell",
        ),
        ([OWN, "training.bptt_steps=3"], "training.bptt_steps 3", "your model's forward"),
        (["env.pip=[--index-url x]"], "env.pip is", "no options"),
        (["env.pip=['']"], "env.pip is", "requirements for pip"),
        (["env.pip=einops"], "env.pip is", "tuple"),
    ],
)
def test_what_does_not_fit_is_refused(assignments: list[str], cause: str, cure: str) -> None:
    error = refused(*assignments)
    assert cause in error.cause and cure in error.cure, error


def test_a_requirement_with_a_password_is_refused_and_not_shown() -> None:
    with pytest.raises(InputError, match="holds credentials") as caught:
        build_spec(assignments=["env.pip=['x @ https://me:secret@host/x.whl']"])
    assert "secret" not in str(caught.value)


def test_how_images_become_sequences_is_still_a_key() -> None:
    spec = build_spec(assignments=[OWN, "model.read=pixels"])
    assert spec.model.read == "pixels"


@pytest.mark.parametrize(
    ("preset", "fingerprint"),
    [
        ("default", "28d28eae31d6e86375c0f93b1cc76d34d8d74a9d023dff117deb337f36ff00a3"),
        ("seed", "c2d2bc18749d3963b0900de5ac8fc324604608398b01e6f4896cf67a2a234986"),
    ],
)
def test_a_job_with_a_built_in_model_has_the_fingerprint_of_this_definition(
    preset: str, fingerprint: str
) -> None:
    assert build_spec(preset).fingerprint(DATA) == fingerprint


@pytest.mark.parametrize(
    "assignment",
    ["model.class_path=net.py:other", "model.init_args.a=1", f"model.code_sha256={HASH}"],
)
def test_a_models_name_arguments_and_code_decide_the_result(assignment: str) -> None:
    one, other = (build_spec(assignments=[OWN, *more]) for more in ([], [assignment]))
    assert one.fingerprint(DATA) != other.fingerprint(DATA)


def test_packages_do_not_decide_the_result() -> None:
    spec = build_spec(assignments=["env.pip=[einops==0.8.1]"])
    assert spec.env.pip == ("einops==0.8.1",)
    assert spec.fingerprint(DATA) == build_spec().fingerprint(DATA)


def test_another_model_does_not_keep_the_hash_of_the_files_model(tmp_path: Path) -> None:
    file = tmp_path / "job.yaml"
    file.write_text(f"model: {{class_path: 'old.py:make', code_sha256: {HASH}}}\n")
    assert build_spec(file=file).model.code_sha256 == HASH
    assert build_spec(file=file, flags={"model.class_path": "new.py:x"}).model.code_sha256 is None
    assert build_spec(file=file, assignments=[OWN]).model.code_sha256 is None
