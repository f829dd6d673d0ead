"""The base class of everything in a job's description, and the numbers that it is made of.

It imports no torch, so that the command line can read a spec at once.
"""

import math
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field


def _number(value: Any) -> Any:
    if isinstance(value, bool):
        raise ValueError("Input should be a valid number")
    if isinstance(value, float) and not math.isfinite(value):
        raise ValueError("Input should be a finite number")
    return value


MAX_FLOAT32 = 3e37
"""The limit of numbers that torch keeps as float32; the type itself ends at 3.4e38."""
Number = Annotated[float, BeforeValidator(_number)]
"""A finite number."""
NonNegativeInt = Annotated[int, Field(ge=0, strict=True)]
PositiveInt = Annotated[int, Field(ge=1, strict=True)]
Fraction = Annotated[Number, Field(ge=0.0, lt=1.0)]
NonNegative = Annotated[Number, Field(ge=0.0)]
Positive = Annotated[Number, Field(gt=0.0)]


class Config(BaseModel):
    """The base class of all sections. It is immutable and refuses unknown keys."""

    model_config = ConfigDict(frozen=True, extra="forbid")
