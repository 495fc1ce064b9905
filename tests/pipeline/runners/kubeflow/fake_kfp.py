"""A Python with stand-ins for kfp and docker: what `kfp_local` asks of them, without an engine."""

import json
import subprocess
import sys
import textwrap
from pathlib import Path

_KFP = {
    "kfp/__init__.py": "__version__ = '2.16.1'",
    "kfp/local.py": """
        from docker import note
        def DockerRunner(**settings):
            return settings
        def init(runner, pipeline_root):
            note("init", {**runner, "pipeline_root": pipeline_root})
        """,
    "kfp/components.py": """
        import os, signal, subprocess, sys, time
        from docker import CONTAINERS, ENGINE, note
        def say(task, text):
            print(f"    tfx-mnist: {task}: {text}", flush=True)
        def start(name, run_id):
            (CONTAINERS / name).write_text(run_id)
        def load_component_from_text(text):
            note("text", text)
            return pipeline
        """,
}

# A container is a file of the folder, and holds the run's id, by which it is labelled.
_DOCKER = {
    "docker/__init__.py": """
        import json, pathlib
        from docker import errors, types
        ENGINE = pathlib.Path({engine!r})
        CONTAINERS = ENGINE / "containers"
        def note(name, value):
            (ENGINE / f"{{name}}.json").write_text(json.dumps(value))
        class Container:
            def __init__(self, path):
                self._path = path
            def kill(self):
                self._path.unlink()
            def remove(self, force):
                assert force  # it may have begun to run by now
                raise errors.NotFound("auto_remove")
        class Containers:
            def list(self, all, filters, ignore_removed):
                label, _, run_id = filters["label"].partition("=")
                assert (label, all, ignore_removed) == ("tfx-mnist.run", True, True)
                found = CONTAINERS.iterdir()
                return [Container(path) for path in found if path.read_text() == run_id]
        class Image:
            def __init__(self, *tags, digests=None):
                self.tags = list(tags)
                self.attrs = {{"RepoTags": self.tags, "RepoDigests": digests}}
        class Images:
            def get(self, name):
                if not name:
                    raise errors.NullResource("Resource ID was not provided")
                if name == "Image!":
                    raise errors.APIError("500 Server Error: invalid reference format")
                if name == "0f3c":
                    return Image()
                if name == "4d1e":
                    return Image(digests=["r.example/image@sha256:4d1e"])
                if name not in ("image:1", "localhost/image:1"):
                    raise errors.ImageNotFound(name)
                return Image("localhost/image:1")
        class Client:
            containers = Containers()
            images = Images()
            def ping(self):
                pass
        from_env = Client
        """,
    "docker/errors.py": """
        class DockerException(Exception): pass
        class APIError(DockerException): pass
        class NotFound(APIError): pass
        class ImageNotFound(NotFound): pass
        class NullResource(DockerException, ValueError): pass
        """,
    "docker/types.py": """
        def Mount(target, source, type="volume", read_only=False):
            return {"target": target, "source": source, "type": type, "read_only": read_only}
        """,
}


class FakeKfp:
    """The Python, and what its engine knows.

    Attributes:
      python: path of the interpreter.
    """

    def __init__(self, folder: Path, pipeline: str = "pass") -> None:
        """Makes it; `pipeline` is what a run does, in Python."""
        self._engine = folder / "engine"
        (self._engine / "containers").mkdir(parents=True)
        home = folder / "python"
        subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(home)], check=True)
        self.python = str(home / "bin" / "python")
        (packages,) = home.glob("lib/python*/site-packages")
        for name, code in {**_KFP, **_DOCKER}.items():
            (packages / name).parent.mkdir(exist_ok=True)
            text = textwrap.dedent(code)
            if name == "docker/__init__.py":
                text = text.format(engine=str(self._engine))
            if name == "kfp/components.py":
                text += "def pipeline():\n" + textwrap.indent(pipeline, "    ")
            (packages / name).write_text(text)

    @property
    def running(self) -> set[str]:
        """Names of the containers."""
        return {path.name for path in (self._engine / "containers").iterdir()}

    def noted(self, name: str):
        """What was handed over: "init" to `kfp.local.init`, "text" is the pipeline's."""
        return json.loads((self._engine / f"{name}.json").read_text())
