"""The examples that close the help of each command."""


def example(*commands: str) -> str:
    """Return what a command's help ends with: commands as they are typed, one on each line."""
    title = "Example:" if len(commands) == 1 else "Examples:"
    return "\n".join(["\b", title, *(f"  {command}" for command in commands)])
