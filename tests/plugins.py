"""A plugin as pip installs one: a module, and beside it the metadata that names it."""

from pathlib import Path


def install(
    folder: Path, code: str, *, name: str = "plugin-of-a-test", file: str | None = None
) -> str:
    """Writes the distribution `name` into a folder that shall be on `sys.path`.

    Returns:
      The name of its module, which holds the code in `file`, by default `MODULE.py`.
    """
    module = name.replace("-", "_")
    path = folder / (file or f"{module}.py")
    path.parent.mkdir(exist_ok=True)
    path.write_text(code)
    metadata = folder / f"{module}-1.0.dist-info"
    metadata.mkdir(parents=True)
    (metadata / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
    (metadata / "entry_points.txt").write_text(f"[tfx_mnist]\n{name} = {module}\n")
    return module
