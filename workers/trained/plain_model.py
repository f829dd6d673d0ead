"""A trained model in plain torch: load it, and compute with rows as they are in its data set.

This file is `model.py` in the folder that `rnnjob export --format bundle` writes. It needs torch
and nothing else. In Python, with that folder in sys.path:

    from model import load
    model = load("the folder")
    outputs = model(inputs)

`model.json` beside it says what the inputs are. Images are bytes (B, H, W). Vectors (B, T, F) and
tokens (B, T) are padded with zeros to one length; if the sequences of the data set had different
lengths, the time steps of each row are the second argument. The outputs are the probabilities of
the classes (B, C), or a number for each row (B).

B rows, H height, W width, T time steps, F features of a time step, C classes.
"""

import functools
import hashlib
import importlib
import importlib.util
import json
import math
import sys
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

MANIFEST, FACTS = "SHA256SUMS", "model.json"
WEIGHTS, BUFFERS = "weights.safetensors", "buffers.safetensors"
CODE = "model_code"
_DTYPES = {
    "F64": torch.float64, "F32": torch.float32, "F16": torch.float16, "BF16": torch.bfloat16,
    "I64": torch.int64, "I32": torch.int32, "I16": torch.int16, "I8": torch.int8,
    "U8": torch.uint8, "BOOL": torch.bool,
}  # fmt: skip
"""What the dtypes of a safetensors file are in torch."""


def load(folder: str | Path) -> "Predictor":
    """Load a model, after a check that no file of its folder was changed.

    If the folder has `model_code`, that code is run. Raises ValueError if a file is missing or was
    changed.
    """
    folder = Path(folder).absolute()
    check(folder)
    facts = json.loads((folder / FACTS).read_text())
    network = _own_network(folder, facts) if facts["own"] else Network(facts)
    tensors: dict[str, Tensor] = dict(network.named_parameters())
    values = read_tensors(folder / WEIGHTS)
    if (folder / BUFFERS).exists():
        tensors.update(network.named_buffers())
        values.update(read_tensors(folder / BUFFERS))
    if set(tensors) != set(values):
        raise ValueError(f"{WEIGHTS} is not of this network: {sorted(set(tensors) ^ set(values))}")
    with torch.no_grad():
        for name, tensor in tensors.items():
            tensor.copy_(values[name])
    return Predictor(network, facts).eval()


def check(folder: Path) -> None:
    """Raise ValueError unless the files are those of which the manifest has the SHA-256.

    `sha256sum --check SHA256SUMS` does the same without running anything of the folder. A hash
    shows that a file was changed, not who made it.
    """
    try:
        lines = (folder / MANIFEST).read_text().splitlines()
    except OSError as error:
        raise ValueError(f"{folder / MANIFEST} cannot be read: {error}") from error
    wanted = {name: digest for digest, _, name in (line.partition("  ") for line in lines)}
    for name in (FACTS, WEIGHTS, *wanted):
        if name not in wanted or not (folder / name).is_file():
            raise ValueError(f"{folder / name} is missing: take a whole copy of the folder")
        if hashlib.sha256((folder / name).read_bytes()).hexdigest() != wanted[name]:
            raise ValueError(f"{folder / name} was changed: take another copy of the folder")
    for file in (folder / CODE).rglob("*"):
        if file.is_file() and file.relative_to(folder).as_posix() not in wanted:
            raise ValueError(f"{file} does not belong to the model: remove it")


def read_tensors(file: Path) -> dict[str, Tensor]:
    """Return the tensors of a safetensors file: the size of a header, the header in JSON, bytes."""
    content = file.read_bytes()
    start = 8 + int.from_bytes(content[:8], "little")
    header = json.loads(content[8:start])
    tensors = {}
    for name, entry in header.items():
        if name != "__metadata__":
            begin, end = (start + offset for offset in entry["data_offsets"])
            dtype, data = _DTYPES[entry["dtype"]], bytearray(content[begin:end])
            flat = torch.frombuffer(data, dtype=dtype) if data else torch.empty(0, dtype=dtype)
            tensors[name] = flat.reshape(entry["shape"])
    return tensors


class Predictor(nn.Module):
    """From rows as they are in the data set to probabilities, or to numbers in their own units."""

    mean_F: Tensor
    std_F: Tensor

    def __init__(self, network: nn.Module, facts: dict[str, Any]) -> None:
        super().__init__()
        self.network = network
        self.facts = facts
        source = facts["input"]
        if source["kind"] == "vectors":
            for name in ("mean", "std"):
                values = torch.tensor(source[name], dtype=torch.float32)
                self.register_buffer(f"{name}_F", values, persistent=False)

    def forward(self, inputs: Tensor, lengths_B: Tensor | None = None) -> Tensor:
        x = self._sequences(inputs, lengths_B)
        target = self.facts["target"]
        outputs_BC: Tensor = self._call(x, lengths_B).float()
        if target["kind"] == "classes":
            return outputs_BC.softmax(dim=1)
        # In float64: of large numbers near each other, float32 would keep little.
        std, mean = float(target["std"]), float(target["mean"])
        return outputs_BC.squeeze(1).double() * std + mean

    def _sequences(self, inputs: Tensor, lengths_B: Tensor | None) -> Tensor:
        """Return normalized vectors (B, T, F), zero behind the end of a sequence, or tokens."""
        source = self.facts["input"]
        if source["kind"] == "tokens":
            return inputs.to(torch.int32)
        if source["kind"] == "image":
            scaled_BHW = (inputs.to(torch.float32) / 255.0 - source["mean"]) / source["std"]
            return _as_sequences(scaled_BHW, self.facts["network"]["read"])
        vectors_BTF = (inputs.to(torch.float32) - self.mean_F) / self.std_F
        if source["missing"] == "zero":
            vectors_BTF = vectors_BTF.masked_fill(vectors_BTF.isnan(), 0.0)
        if lengths_B is None:
            return vectors_BTF
        return vectors_BTF.masked_fill(~_is_step(lengths_B, vectors_BTF), 0.0)

    def _call(self, x: Tensor, lengths_B: Tensor | None) -> Tensor:
        own = self.facts["own"]
        if own is None:
            outputs_BC: Tensor = self.network(x, lengths_B)
        elif not own["takes_lengths"]:
            outputs_BC = self.network(x)
        else:
            if lengths_B is None:
                # The dtype is said, or a recording would make it float32.
                lengths_B = torch.full(x.shape[:1], x.shape[1], dtype=torch.int64, device=x.device)
            outputs_BC = self.network(x, lengths_B)
        return outputs_BC


def _as_sequences(images_BHW: Tensor, read: str) -> Tensor:
    if read == "columns":
        return images_BHW.transpose(1, 2)
    if read == "rows-and-columns":
        height, width = images_BHW.shape[1:]
        pad = nn.functional.pad
        rows = pad(images_BHW, (0, 0, 0, max(width - height, 0)))
        columns = pad(images_BHW.transpose(1, 2), (0, 0, 0, max(height - width, 0)))
        return torch.cat([rows, columns], dim=2)
    return images_BHW.flatten(1).unsqueeze(2) if read == "pixels" else images_BHW


def _is_step(lengths_B: Tensor, x_BTF: Tensor) -> Tensor:
    """Return whether each time step is one of its row, not padding: (B, T, 1)."""
    steps_T = torch.arange(x_BTF.shape[1], device=x_BTF.device)
    return (steps_T < lengths_B.unsqueeze(1)).unsqueeze(2)


class Network(nn.Module):
    """An RNN, LSTM or GRU, with one module for each direction of each layer."""

    def __init__(self, facts: dict[str, Any]) -> None:
        super().__init__()
        self.config = config = facts["network"]
        width = facts["num_features"]
        self.embedding: nn.Embedding | None = None
        if facts["vocabulary_size"]:
            width = config["embedding_size"]
            self.embedding = nn.Embedding(facts["vocabulary_size"], width, padding_idx=0)
        self.hidden = config["hidden_size"]
        directions = 2 if config["bidirectional"] else 1
        cell = {"rnn": nn.RNN, "lstm": nn.LSTM, "gru": nn.GRU}[config["cell"]]
        widths = [width] + [self.hidden * directions] * (config["num_layers"] - 1)
        self.layers = nn.ModuleList(
            nn.ModuleList(cell(w, self.hidden, batch_first=True) for _ in range(directions))
            for w in widths
        )
        vectors = 2 if config["pooling"] == "mean-max" else 1
        self.head = nn.Linear(self.hidden * directions * vectors, facts["num_outputs"])

    def forward(self, x: Tensor, lengths_B: Tensor | None = None) -> Tensor:
        if self.embedding is not None:
            x = self.embedding(x)
        for directions in self.layers:
            assert isinstance(directions, nn.ModuleList)
            forward, *backward = list(directions)
            outputs = [forward(x)[0]]
            for cell in backward:
                outputs.append(_reversed(cell(_reversed(x, lengths_B))[0], lengths_B))
            x = torch.cat(outputs, dim=2)
        outputs_BC: Tensor = self.head(self._pool(x, lengths_B))
        return outputs_BC

    def _pool(self, x_BTF: Tensor, lengths_B: Tensor | None) -> Tensor:
        if lengths_B is None:
            lengths_B = torch.full(x_BTF.shape[:1], x_BTF.shape[1], device=x_BTF.device)
        pooling = self.config["pooling"]
        if pooling == "mean-max":
            return torch.cat([_mean(x_BTF, lengths_B), _max(x_BTF, lengths_B)], dim=1)
        if pooling == "mean":
            return _mean(x_BTF, lengths_B)
        if pooling == "max":
            return _max(x_BTF, lengths_B)
        last_BF = x_BTF[torch.arange(len(x_BTF), device=x_BTF.device), lengths_B - 1]
        # A reverse direction has seen the whole sequence at the first time step.
        return torch.cat([last_BF[:, : self.hidden], x_BTF[:, 0, self.hidden :]], dim=1)


def _reversed(x_BTF: Tensor, lengths_B: Tensor | None) -> Tensor:
    """Return each sequence from its last time step to its first. Padding stays behind it."""
    if lengths_B is None:
        return x_BTF.flip(1)
    steps_T = torch.arange(x_BTF.shape[1], device=x_BTF.device)
    last_B1 = lengths_B.unsqueeze(1) - 1
    from_BT = torch.where(steps_T <= last_B1, last_B1 - steps_T, steps_T)
    return x_BTF.gather(1, from_BT.unsqueeze(2).expand_as(x_BTF))


def _mean(x_BTF: Tensor, lengths_B: Tensor) -> Tensor:
    kept_BTF = x_BTF.masked_fill(~_is_step(lengths_B, x_BTF), 0.0)
    return kept_BTF.sum(dim=1) / lengths_B.unsqueeze(1)


def _max(x_BTF: Tensor, lengths_B: Tensor) -> Tensor:
    return x_BTF.masked_fill(~_is_step(lengths_B, x_BTF), -math.inf).amax(dim=1)


def _own_network(folder: Path, facts: dict[str, Any]) -> nn.Module:
    """Run the code in `model_code`, and return the network that it makes."""
    module_path, _, attribute = facts["network"]["class_path"].partition(":")
    keeps_bytecode, sys.dont_write_bytecode = sys.dont_write_bytecode, True
    try:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(facts["own"]["seed"])
            found: Any = _imported(folder / CODE, module_path)
            made = functools.reduce(getattr, attribute.split("."), found)
            network: nn.Module = made(**facts["own"]["arguments"])
    finally:
        sys.dont_write_bytecode = keeps_bytecode
    return network


def _imported(code: Path, path: str) -> Any:
    if path.endswith(".py"):
        name = f"model_code_{hashlib.sha256(str(code).encode()).hexdigest()[:16]}"
        spec = importlib.util.spec_from_file_location(name, code / path)
        assert spec is not None and spec.loader is not None
        module = sys.modules[name] = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        return module
    sys.path.insert(0, str(code))
    module = importlib.import_module(path)
    if not Path(module.__file__ or "").is_relative_to(code):
        raise ValueError(f"another {path} is imported already: load the model in a new process")
    return module
