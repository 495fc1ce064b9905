"""Version directories of a served model: publish atomically, roll back, prune, verify, copy out.

The layout is the one that TensorFlow Serving watches: a directory whose integer-named children are
the versions, the highest of which is served::

    serving/
      1/  saved_model.pb  variables/...  manifest.json
      2/  saved_model.pb  variables/...  manifest.json
      .publish.lock            held by the process that changes the directory
      .staging-<random>/       a version that is not complete yet
      .removed-<n>-<random>/   a version that is being deleted
      .decisions.jsonl         the log: which models were withdrawn, and what was decided

Synopsis::

    published = publish(Path("model"), Path("serving"), {"run_key": "9f2c"})
    published.version                         # 1, then 2, 3, ...: highest + 1, never the clock
    newest_valid(Path("serving")).manifest.release["run_key"]   # "9f2c"
    rollback(Path("serving"), reason="sevens").withdraws        # the version that was live
    prune(Path("serving"), keep=5).removed

A version appears by one rename of a directory whose files, directories and manifest are on disk
already, and it disappears by one rename. So a process that is killed, or a machine that loses
power, at any moment leaves either the complete version or none; the next change removes the hidden
directories that are left. `flock` keeps those who change the directory apart; readers need no lock.

Withdrawn versions: TensorFlow Serving looks at nothing but the highest number, so a rollback is
another version, with an older one's files. Its manifest says which version it withdraws, and that
one's model: the mark and the rollback appear by the same rename. A version is withdrawn when any
manifest in the directory withdraws its number or its model. The log keeps the models' digests for
good: they are written there before a version with such a manifest is pruned.

Names: TensorFlow Serving reads a child's name as an int64 and loads what it finds there, be it
complete or not (`file_system_storage_path_source.cc`). Hence every name that it would read as a
number of zero or more counts when the next number is chosen, also "007", a plain file called "9",
or a directory that another tool made. Only what this module published under the canonical name,
with a manifest that its files match, is valid. Negative numbers can never be the highest beside a
published version, and what only Python takes for a number (other scripts' digits, "1_0", numbers
above int64) is no version to TensorFlow Serving either: all of these are ignored.
"""

from components.serving_dir.baseline import (
    Baseline,
    Comparison,
    Decided,
    ReleaseContext,
    compared_now,
    export_baseline,
    release_context,
    released_data,
)
from components.serving_dir.log import LOG_NAME, Withdrawal
from components.serving_dir.model_files import (
    MANIFEST_NAME,
    ServingDirError,
    StaleDecision,
    digest_of,
)
from components.serving_dir.pruning import Pruned, prune
from components.serving_dir.publishing import (
    LOCK_NAME,
    REMOVED_PREFIX,
    STAGING_PREFIX,
    locked,
    publish,
)
from components.serving_dir.reading import find, live, newest_valid, versions, withdrawn_digests
from components.serving_dir.rolling_back import rollback
from components.serving_dir.version import (
    Version,
    check_manifest,
    export_model,
    require_valid,
    verify,
)

__all__ = [
    "LOCK_NAME",
    "LOG_NAME",
    "MANIFEST_NAME",
    "REMOVED_PREFIX",
    "STAGING_PREFIX",
    "Baseline",
    "Comparison",
    "Decided",
    "Pruned",
    "ReleaseContext",
    "ServingDirError",
    "StaleDecision",
    "Version",
    "Withdrawal",
    "check_manifest",
    "compared_now",
    "digest_of",
    "export_baseline",
    "export_model",
    "find",
    "live",
    "locked",
    "newest_valid",
    "prune",
    "publish",
    "release_context",
    "released_data",
    "require_valid",
    "rollback",
    "verify",
    "versions",
    "withdrawn_digests",
]
