"""Presets: named sets of values, by dotted key, that replace the defaults."""

from typing import Any

PRESETS: dict[str, dict[str, Any]] = {
    "default": {},
    # The classic TensorFlow experiment: a basic LSTM on the rows of MNIST, plain SGD, 20,000 steps.
    "seed": {
        "name": "mnist-seed",
        "dataset.num_shards": 4,  # 32 rows per shard and step: enough work for a thread
        "dataset.validation_rows": 5000,
        "dataset.normalize": "none",
        "dataset.test_head_rows": 6000,
        "model.train_recurrent_bias": False,
        "model.kernel_init": "glorot-uniform",
        "model.head_init": "normal",
        "training.steps": 20000,
        "training.global_batch_size": 128,
        "training.optimizer": {"name": "sgd", "lr": 0.001, "weight_decay": 0.0},
        "training.schedule": "constant",
        "training.gradient_clip": 0.0,
        "training.precision": "fp32",
        "training.keep": "last",
        "log.print_every_steps": 100,
    },
    # The best accuracy on MNIST with one recurrent network in half an hour. See docs/examples.md.
    "best": {
        "name": "mnist-best",
        "dataset.num_shards": 4,
        "dataset.validation_rows": 0,
        "dataset.normalize": "none",  # around an image is nothing: 0 is the background
        "model.class_path": "workers.models.shipped.sweeps:Sweeps",
        "augment": {"shift_px": 2.0, "rotate_deg": 12.0, "scale": 0.12, "shear": 0.2},
        "training.epochs": 16,
        "training.global_batch_size": 128,
        "training.optimizer": {"name": "adamw", "lr": 0.006, "weight_decay": 0.05},
        "training.label_smoothing": 0.05,
    },
    # The whole way through 784 time steps of one pixel. See docs/examples.md.
    "pixels": {
        "name": "mnist-pixels",
        "dataset.num_shards": 2,  # 16 rows a piece: what so many steps leave behind fits a cache
        "dataset.validation_rows": 0,
        "model.read": "pixels",
        "model.hidden_size": 64,
        "model.pooling": "mean-max",
        "model.forget_bias": 3.0,
        "training.epochs": 40,
        "training.global_batch_size": 32,
        "training.optimizer": {"name": "adamw", "lr": 0.008, "weight_decay": 0.01},
    },
}
