"""The one error of this package, and the remedies for what the operating system refuses."""

from __future__ import annotations

import errno

_REMEDIES = {
    errno.ENOSPC: "free space on that disk",
    errno.EDQUOT: "free space in that quota",
    errno.EFBIG: "raise the limit on file sizes",
    errno.EACCES: "give this user permission there",
    errno.EPERM: "give this user permission there",
    errno.EROFS: "choose a serving directory on a writable disk",
    errno.ELOOP: "remove that symbolic link",
    errno.ENOTDIR: "choose a serving directory whose parents are directories",
    errno.ETIMEDOUT: "wait until it ends, and try again",
}


class ServingDirError(RuntimeError):
    """One line: what could not be done with the serving directory, why, and the remedy."""


class StaleDecision(ServingDirError):
    """A decision to release that does not hold any more: nothing was published."""


def explain(error: OSError) -> str:
    """Returns what the system said, of which file, and the remedy."""
    where = f" ({str(error.filename)!r})" if error.filename else ""
    remedy = _REMEDIES.get(error.errno or 0, "see to that path")
    return f"{error.strerror or error}{where}: {remedy}"
