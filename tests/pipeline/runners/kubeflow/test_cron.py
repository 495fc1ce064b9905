"""Cron as the backend reads it."""

import re

import pytest

from pipeline.runners.kubeflow import cron


@pytest.mark.parametrize(
    "text",
    [
        *("0 0 2 * * *", "59 59 23 31 12 6", "0 0 0 1 1 0", "0 0 2 ? * MON-FRI"),
        *("0 */15 1-5 * jan,jul ?", "0 0/15 2 1,15 * *", "0 0 8-18/2 * * 1-5"),
        *("@hourly", "@daily", "@midnight", "@weekly", "@monthly", "@yearly", "@annually"),
        *("@every 6h", "@every 1h30m", "@every 1.5h"),
    ],
)
def test_what_the_backend_reads_passes(text: str) -> None:
    cron.require(text)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("99 99 99 * * x", "seconds from 0 to 59, not '99'"),
        ("0 60 2 * * *", "minutes from 0 to 59, not '60'"),
        ("0 0 24 * * *", "hours from 0 to 23, not '24'"),
        ("0 0 2 0 * *", "days of the month from 1 to 31, not '0'"),
        ("0 0 2 * 13 *", "months from 1 to 12, not '13'"),
        ("0 0 2 * * 7", "days of the week from 0 to 6, not '7'"),
        ("0 0 2 * * x", "days of the week from 0 to 6, not 'x'"),
        ("0 0 5-1 * * *", "hours from 0 to 23, not '5-1'"),
        ("0 */0 * * * *", "minutes from 0 to 59, not '*/0'"),
        ("0 1, * * * *", "minutes from 0 to 59, not '1,'"),
        ("0 -1 * * * *", "minutes from 0 to 59, not '-1'"),
        ("0 ² * * * *", "minutes from 0 to 59, not '²'"),
        ("mon 0 2 * * *", "seconds from 0 to 59, not 'mon'"),
        ("0 2 * * *", "six fields, seconds first, such as '0 0 2 * * *', or one of @annually,"),
        ("", "six fields, seconds first"),
        *((text, "six fields, seconds first") for text in ("@foo", "@Daily", "@every", "@every 5")),
    ],
)
def test_what_it_does_not_is_refused_with_what_is_expected(text: str, expected: str) -> None:
    with pytest.raises(ValueError, match=re.escape(expected)):
        cron.require(text)
