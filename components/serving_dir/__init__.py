"""Version directories of a served model: publish atomically, roll back, prune, verify, copy out.

The layout is the one that TensorFlow Serving watches, which serves the highest number::

    serving/
      1/  saved_model.pb  variables/...  manifest.json
      2/  saved_model.pb  variables/...  manifest.json
      .publish.lock            held by the process that changes the directory
      .staging-<random>/       a version that is not complete yet
      .removed-<n>-<random>/   a version that is being deleted
      .pending-<run>/          a model that passed the gates and waits for a person
      .decisions.jsonl         the log: what was decided, withdrawn, approved and rejected

Synopsis::

    publish(Path("model"), Path("serving"), {"run_key": "9f2c"}).version     # the highest + 1
    rollback(Path("serving"), reason="sevens").withdraws        # the version that was live
    prune(Path("serving"), keep=5).removed

`decisions.register` counts a decision before it is made, and `publish(..., decided=...)` carries it
out only while it holds; docs/gate-check.md has a script that does both.

A version appears by one rename, after all its files were synced to disk, and disappears by one
rename. So a kill or a power cut leaves either the complete version or none; the next change removes
the hidden directories that are left. `flock` keeps those who change the directory apart; readers
need no lock. docs/decisions/0004-a-rollback-is-a-version.md says how a model is withdrawn.

TensorFlow Serving reads a child's name as an int64 and loads what it finds there, be it complete or
not (`file_system_storage_path_source.cc`). Hence every name that it reads as a number of zero or
more counts when the next number is chosen, also "007", a plain file "9", or another tool's
directory. Valid is only what this package published, under the canonical name and unchanged.
Negative numbers, and names that are numbers to Python alone ("1_0"), are ignored.
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
from components.serving_dir.changing import LOCK_NAME
from components.serving_dir.log import LOG_NAME
from components.serving_dir.model_files import (
    MANIFEST_NAME,
    ServingDirError,
    StaleDecision,
    digest_of,
)
from components.serving_dir.pending import approve, find_pending, hold, pending, reject
from components.serving_dir.pending_record import Pending
from components.serving_dir.pruning import Pruned, prune
from components.serving_dir.publishing import Published, publish
from components.serving_dir.reading import (
    find,
    live,
    newest_valid,
    require_no_version,
    versions,
    withdrawn_digests,
)
from components.serving_dir.rolling_back import rollback
from components.serving_dir.version import (
    Version,
    check_manifest,
    export_model,
    require_signed,
    require_valid,
    verify,
)
