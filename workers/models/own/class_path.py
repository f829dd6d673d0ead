"""The name of what makes a model: `net.py:make`, or `package.module:Class`."""

from dataclasses import dataclass

from workers.config import CLASS_PATH


@dataclass(frozen=True)
class ClassPath:
    """Where the callable is that makes a model."""

    file: str
    """The file of a model in one file, as it was written; empty for a module."""
    module: str
    """The dotted name of a module; empty for a file."""
    attribute: str
    """The name in the file or module; a dot leads into a class."""

    @classmethod
    def parse(cls, text: str) -> "ClassPath":
        """`text`: of the form of `workers.config.CLASS_PATH`, as a spec has it."""
        match = CLASS_PATH.fullmatch(text)
        assert match is not None, text
        return cls(match["file"] or "", match["module"] or "", match["attribute"])

    @property
    def top(self) -> str:
        """The name of the module's outermost package, or of the module itself without one."""
        return self.module.partition(".")[0]

    @property
    def stored(self) -> str:
        """The same name where the code lies in a run folder: there, a file has no folder above."""
        name = self.file.replace("\\", "/").rpartition("/")[2]
        return f"{name or self.module}:{self.attribute}"
