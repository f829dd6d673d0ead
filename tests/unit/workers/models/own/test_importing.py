"""From the code of a user's own model to the model, and what is said if that fails."""

import random
import sys
import textwrap
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from tests.unit.workers.models.own.sources import GOOD, code, config, tokens, vectors
from workers.data.kinds import DataShape
from workers.errors import ModelError
from workers.models.own.code import ModelCode
from workers.models.own.importing import imported
from workers.models.own.installed import factory

ARGUMENTS = """
from torch import nn
seen = {}
def make(%s):
    seen.clear()
    seen.update(locals())
    model = nn.Linear(2, 2)
    model.seen = seen
    return model
"""


def build(
    own: ModelCode, class_path: str = "net.py:Net", shape: DataShape | None = None, **init_args: Any
) -> nn.Module:
    with imported(own, class_path, 7) as function:
        spec = config(own, class_path, **init_args)
        return factory(function, spec, shape or vectors(), 0).build()


def refused(text: str, name: str = "Net", **init_args: Any) -> ModelError:
    with pytest.raises(ModelError) as caught:
        build(code(text), f"net.py:{name}", **init_args)
    error = caught.value
    assert error.exit_code == 2 and error.cure
    assert "\n" not in error.cause + error.cure
    return error


def package(**files: str) -> ModelCode:
    """A package `net` with these modules."""
    texts = {"net/__init__.py": b""}
    for name, text in files.items():
        texts[f"net/{name}.py"] = textwrap.dedent(text).encode()
    return ModelCode(texts)


def test_a_class_in_a_file_becomes_a_model() -> None:
    model = build(code(GOOD), hidden=5)
    names = [name for name, _ in model.named_parameters()]
    assert names[0] == "gru.weight_ih_l0" and names[-1] == "head.bias"
    assert model.head.weight.shape == (2, 5)  # type: ignore[union-attr]
    assert model.training


def test_the_first_weights_are_a_function_of_code_and_seed() -> None:
    torch.rand(3)
    first, second = (build(code(GOOD)).state_dict() for _ in range(2))
    assert all(torch.equal(first[name], second[name]) for name in first)
    with imported(code(GOOD), "net.py:Net", 7) as function:
        other = factory(function, config(code(GOOD)), vectors(), 1).build().state_dict()
    assert not torch.equal(first["head.weight"], other["head.weight"])


def test_numbers_from_numpy_and_python_are_seeded_and_the_process_keeps_its_own() -> None:
    text = """
    import random
    import numpy as np
    import torch
    from torch import nn
    at_import = torch.rand(1) + random.random()
    torch.manual_seed(5)
    def make():
        model = nn.Linear(1, 1)
        nn.init.constant_(model.weight, random.random() + np.random.rand())
        with torch.no_grad():
            model.bias.copy_(at_import)
        torch.set_default_dtype(torch.float64)
        return model
    """
    before = torch.get_rng_state(), np.random.get_state()[1].tolist(), random.getstate()  # type: ignore[index]
    one, two = (build(code(text), "net.py:make") for _ in range(2))
    assert torch.equal(one.weight, two.weight)  # type: ignore[arg-type]
    assert torch.equal(one.bias, two.bias)  # type: ignore[arg-type]
    after = torch.get_rng_state(), np.random.get_state()[1].tolist(), random.getstate()  # type: ignore[index]
    assert torch.equal(before[0], after[0]) and before[1:] == after[1:]
    assert torch.get_default_dtype() == torch.float32


@pytest.mark.parametrize(
    ("signature", "seen"),
    [
        ("", {}),
        ("num_outputs, max_length", {"num_outputs": 2, "max_length": 9}),
        ("num_features=1, *, hidden=3", {"num_features": 3, "hidden": 3}),
        ("vocabulary_size=0", {"vocabulary_size": 0}),
    ],
)
def test_it_is_called_with_what_its_signature_names(signature: str, seen: dict[str, int]) -> None:
    assert build(code(ARGUMENTS % signature), "net.py:make").seen == seen


def test_any_init_argument_reaches_a_function_that_takes_all() -> None:
    model = build(code(ARGUMENTS % "num_outputs, **more"), "net.py:make", sizes=[1, {"a": None}])
    assert model.seen == {"num_outputs": 2, "more": {"sizes": [1, {"a": None}]}}


def test_a_model_for_tokens_gets_their_number() -> None:
    model = build(code(ARGUMENTS % "vocabulary_size, num_outputs"), "net.py:make", tokens())
    assert model.seen == {"vocabulary_size": 5, "num_outputs": 1}


@pytest.mark.parametrize(
    ("signature", "init_args", "cause", "cure"),
    [
        ("hidden", {}, "its argument hidden has no value", "model.init_args.hidden="),
        (
            "hidden=1",
            {"hiden": 2},
            "takes no argument hiden",
            "did you mean model.init_args.hidden",
        ),
        ("hidden=1", {"zzz": 2}, "takes no argument zzz", "it takes hidden"),
        ("", {"zzz": 2}, "takes no argument zzz", "leave model.init_args out"),
        ("vocabulary_size", {}, "vocabulary_size, which this data set does not have", "default"),
        ("num_features", {"num_features": 4}, "num_features is 3 by the data set", "leave it out"),
        ("hidden, /", {"hidden": 4}, "hidden only by position", "remove the /"),
    ],
)
def test_arguments_that_do_not_fit_are_refused(
    signature: str, init_args: dict[str, Any], cause: str, cure: str
) -> None:
    error = refused(ARGUMENTS % signature, "make", **init_args)
    assert cause in error.cause and cure in error.cure


@pytest.mark.parametrize(
    ("text", "cause", "cure"),
    [
        ("def Net(:\n", "net.py:1: SyntaxError", "correct it"),
        ("x = 1\n\n1 / 0\n", "net.py:3: ZeroDivisionError: division by zero", "correct it"),
        ("import sys\nsys.exit('bye')\n", "net.py:2: SystemExit: bye", "correct it"),
        ("import no_such_pkg.deep\n", "net.py:1 imports the package no_such_pkg", "pip install"),
        (
            "raise RuntimeError('Found no NVIDIA driver on your system')\n",
            "net.py:1: RuntimeError: Found no NVIDIA",
            "build the model on the CPU",
        ),
        ("def net(): pass\n", "there is no Net in the file", "name a function or class of it: net"),
        ("Net = 3\n", "it is no function or class, but a int", "name a function"),
        ("from torch import nn\nNet = nn.Linear(1, 1)\n", "there already", "class that makes it"),
        ("def Net(): return 3\n", "returned int, not a torch.nn.Module", "return the model"),
        ("def Net(): raise KeyError('k')\n", "net.py:1: KeyError: 'k'", "correct it"),
        (
            "from torch import nn\ndef Net(): return nn.ReLU()\n",
            "no parameter that is trained",
            "nn.Parameter",
        ),
        (
            "from torch import nn\ndef Net(): return nn.Linear(1, 1).double()\n",
            "weight in float64",
            "float32",
        ),
        (
            "from torch import nn\ndef Net(): return nn.LazyLinear(1)\n",
            "lazy layer: weight",
            "give its size",
        ),
        (
            "from torch import nn\ndef Net(): return nn.Linear(1, 1, device='meta')\n",
            "weight on meta",
            "build it on the CPU",
        ),
        (
            "from torch import nn\ndef Net(): return nn.Linear(1, 1).requires_grad_(False)\n",
            "no parameter that is trained",
            "nn.Parameter",
        ),
    ],
)
def test_code_that_makes_no_model_is_refused_with_its_line(
    text: str, cause: str, cure: str
) -> None:
    error = refused(text)
    assert cause in error.cause and cure in error.cure, error


def test_a_module_beside_the_file_is_no_missing_package() -> None:
    own = ModelCode({"net.py": b"import helpers\n"}, frozenset({"helpers"}))
    with pytest.raises(ModelError, match="helpers, which is a file beside it") as caught:
        build(own)
    assert "__init__.py" in caught.value.cure


def test_a_package_imports_more_of_itself_and_reads_its_data_while_it_is_used() -> None:
    own = package(
        main="""
        from torch import nn
        from net.layers import Layer
        class Net(nn.Module):
            def __init__(self):
                super().__init__()
                from . import late
                self.layer, self.text = Layer(1, 1), late.text
        """,
        layers="from torch.nn import Linear as Layer\n",
        late="""
        from pathlib import Path
        text = (Path(__file__).parent / "words.txt").read_text()
        """,
    )
    own = ModelCode({**own.files, "net/words.txt": b"hello"})
    assert build(own, "net.main:Net").text == "hello"


def test_the_process_has_its_own_modules_again_afterwards(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(str(tmp_path))
    (tmp_path / "net").mkdir()
    (tmp_path / "net" / "__init__.py").write_text("where = 'here'")
    import net  # type: ignore[import-not-found]

    path = list(sys.path)
    own = package(main="from torch import nn\nimport net\nassert not hasattr(net, 'where')\n")
    with imported(own, "net.main:nn.Linear", 0) as function:
        assert function is nn.Linear
        assert sys.modules["net"] is not net
        folder = Path(sys.modules["net"].__file__ or "").parent
        assert folder.exists()
    assert sys.modules["net"] is net and "net.main" not in sys.modules
    assert sys.path == path and not folder.exists()


def test_two_versions_of_a_package_are_not_mixed_up() -> None:
    for number in (1, 2):
        own = package(main="from net.part import make\n", part=MAKE % number)
        assert build(own, "net.main:make").number == number


MAKE = """
from torch import nn
def make():
    model = nn.Linear(1, 1)
    model.number = %d
    return model
"""


@pytest.mark.parametrize("name", ["workers", "torch", "json"])
def test_a_package_with_the_name_of_one_that_rnnjob_needs_is_refused(name: str) -> None:
    own = ModelCode({f"{name}/__init__.py": b""})
    with pytest.raises(ModelError, match=f"the package {name}"):
        build(own, f"{name}:Net")


def test_a_module_that_is_not_there_is_named() -> None:
    with pytest.raises(ModelError, match=r"No module named 'net\.other'") as caught:
        build(package(), "net.other:Net")
    assert "pip" not in caught.value.cure
