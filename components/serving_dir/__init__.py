"""Version directories of a served model: publish atomically, list, verify, copy out.

The layout is the one that TensorFlow Serving watches: a directory whose integer-named children are
the versions, the highest of which is served::

    serving/
      1/  saved_model.pb  variables/...  manifest.json
      2/  saved_model.pb  variables/...  manifest.json
      .publish.lock          held by the publisher at work
      .staging-<random>/     a version that is not complete yet; the next publish removes leftovers

Synopsis::

    published = publish(Path("model"), Path("serving"), {"run_key": "9f2c"})
    published.version                         # 1, then 2, 3, ...: highest + 1, never the clock
    newest_valid(Path("serving")).manifest.release["run_key"]   # "9f2c"

A version appears by one rename of a directory whose files, directories and manifest are on disk
already. So a process that is killed, or a machine that loses power, at any moment leaves either the
complete version or none. `flock` keeps publishers apart; readers need no lock.

Names: TensorFlow Serving reads a child's name as an int64 and loads what it finds there, be it
complete or not (`file_system_storage_path_source.cc`). Hence every name that it would read as a
number of zero or more counts when the next number is chosen, also "007", a plain file called "9",
or a directory that another tool made. Only what this module published under the canonical name,
with a manifest that its files match, is valid. Negative numbers can never be the highest beside a
published version, and what only Python takes for a number (other scripts' digits, "1_0", numbers
above int64) is no version to TensorFlow Serving either: all of these are ignored.
"""

from components.serving_dir.errors import ServingDirError
from components.serving_dir.lock import DEFAULT_LOCK_TIMEOUT_S, LOCK_NAME, locked
from components.serving_dir.manifest import (
    MANIFEST_FORMAT,
    MANIFEST_NAME,
    FileRecord,
    Manifest,
)
from components.serving_dir.publishing import STAGING_PREFIX, Published, digest_of, publish
from components.serving_dir.reading import (
    Version,
    export_model,
    newest_valid,
    verify,
    versions,
)

__all__ = [
    "DEFAULT_LOCK_TIMEOUT_S",
    "LOCK_NAME",
    "MANIFEST_FORMAT",
    "MANIFEST_NAME",
    "STAGING_PREFIX",
    "FileRecord",
    "Manifest",
    "Published",
    "ServingDirError",
    "Version",
    "digest_of",
    "export_model",
    "locked",
    "newest_valid",
    "publish",
    "verify",
    "versions",
]
