"""The component around a search: which tuners it takes."""

from types import SimpleNamespace

import pytest
from tfx.components.trainer import fn_args_utils
from tfx.components.util import udf_utils

from components.tuner.tuner import SearchExecutor


def test_a_tuner_of_another_kind_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    given = SimpleNamespace(tuner="RandomSearch")
    monkeypatch.setattr(udf_utils, "get_fn", lambda *_: lambda _: given)
    monkeypatch.setattr(fn_args_utils, "get_common_fn_args", lambda *_: None)
    executor = SearchExecutor()
    monkeypatch.setattr(executor, "_get_tmp_dir", lambda: "")
    with pytest.raises(
        TypeError, match=r"of the type str, expected trainer\.tuning\.search\.Search"
    ):
        executor.Do({}, {}, {})
