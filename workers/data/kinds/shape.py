"""The shape of a whole data set."""

from typing import Any

from pydantic import model_validator

from workers.data.base import Config, NonNegativeInt, PositiveInt
from workers.data.kinds.inputs import Input
from workers.data.kinds.targets import Target

SPLITS = ("train", "validation", "test")


class DataShape(Config):
    """What is known of a prepared data set without reading its rows."""

    name: str
    fingerprint: str
    """A hash of all rows in their order, and of what they were made to."""
    rows_digest: str = ""
    """A hash of all rows in any order. Old data sets do not have it."""
    num_shards: PositiveInt
    input: Input
    target: Target
    train_rows: PositiveInt
    validation_rows: NonNegativeInt
    test_rows: PositiveInt
    test_head_rows: NonNegativeInt = 0
    """The accuracy on the first so many test rows is reported beside that on the whole split; 0
    means it is not."""

    @model_validator(mode="before")
    @classmethod
    def _upgraded(cls, content: Any) -> Any:
        """Accept the form that data sets of images had before there were other kinds."""
        if not (isinstance(content, dict) and "num_classes" in content):
            return content
        names = {"height": "height", "width": "width", "pixel_mean": "mean", "pixel_std": "std"}
        image = {new: content[old] for old, new in names.items() if old in content}
        num_classes = content["num_classes"]
        if not (isinstance(num_classes, int) and 0 < num_classes <= 256):
            raise ValueError(f"num_classes is {str(num_classes)[:80]}")
        rest = {k: v for k, v in content.items() if k not in names and k != "num_classes"}
        target = {
            "kind": "classes", "column": "label", "names": [str(n) for n in range(num_classes)]
        }  # fmt: skip
        return {**rest, "input": {"kind": "image", **image}, "target": target}

    def num_rows(self, split: str) -> int:
        return {
            "train": self.train_rows,
            "validation": self.validation_rows,
            "test": self.test_rows,
        }[split]
