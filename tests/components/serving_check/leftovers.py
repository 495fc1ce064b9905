"""What a server may not leave behind."""

from pathlib import Path


def running(text: str) -> list[str]:
    """Command lines of the processes that name it."""
    lines = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            lines.append(path.read_bytes().replace(b"\0", b" ").decode(errors="replace"))
        except OSError:  # it ended meanwhile
            continue
    return [line for line in lines if text in line]
