"""What the searches of these tests share."""

import pytest

from trainer import training


@pytest.fixture(autouse=True, scope="module")
def read_once():
    """The splits of the same files, which no test changes, are read once in this process."""
    read, load = {}, training.load_splits

    def load_once(job):
        files = (*job.train_files, *job.eval_files)
        if files not in read:
            read[files] = load(job)
        return read[files]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(training, "load_splits", load_once)
        yield
