"""Keras, on TensorFlow if it is installed, else on torch.

python -m benchmarks.bench.peers.keras_fit DATA --accuracy 0.985    # seconds of training
"""

import argparse
import importlib.util
import json
import os
import time
from pathlib import Path

BACKENDS = ("tensorflow", "torch")
os.environ.setdefault("KERAS_BACKEND", next(filter(importlib.util.find_spec, BACKENDS)))

import keras  # noqa: E402

from benchmarks.bench.peers.images import SIZE, load, normalize  # noqa: E402


def build_model() -> keras.Model:
    layers = keras.layers
    model = keras.Sequential(
        [keras.Input((SIZE, SIZE)), layers.LSTM(128), layers.Dense(10, activation="softmax")]
    )
    model.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"])
    return model


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path)
    parser.add_argument("--batch-size", type=int, default=128)
    parser.add_argument("--accuracy", type=float, default=0.985)
    parser.add_argument("--max-epochs", type=int, default=30)
    given = parser.parse_args()
    keras.utils.set_random_seed(0)
    train, test = (load(given.data, split) for split in ("train", "test"))
    x, y = normalize(train[0]).numpy(), train[1].numpy()
    x_test, y_test = normalize(test[0]).numpy(), test[1].numpy()
    model, train_s, accuracy, num_epochs = build_model(), 0.0, 0.0, 0
    while accuracy < given.accuracy and num_epochs < given.max_epochs:
        started = time.perf_counter()
        model.fit(x, y, batch_size=given.batch_size, verbose=0)
        train_s += time.perf_counter() - started
        accuracy = model.evaluate(x_test, y_test, verbose=0, return_dict=True)["accuracy"]
        num_epochs += 1
    figures = {"train_s": train_s, "test_accuracy": float(accuracy), "epochs": num_epochs}
    print(json.dumps(figures))


if __name__ == "__main__":
    main()
