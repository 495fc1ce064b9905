import math

import pytest

from trainer.host.text import (
    apart,
    confidence,
    duration,
    first_line,
    listed,
    one_line,
    p_value,
    printable,
    quoted,
    size,
)


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("seven 7 é 七 🙂", "seven 7 é 七 🙂"),
        ("\x00\x07\x1b[31m\x7f\x9b0m", r"\x00\x07\x1b[31m\x7f\x9b0m"),
        ("é\nb\r\tc\u2028d\u2029e\x85f", r"é\nb\r\tc\u2028d\u2029e\x85f"),
        ("\u202eevil\u2066\u200f", r"\u202eevil\u2066\u200f"),
        ("\u200binvisible\ufeff\U000e0041", r"\u200binvisible\ufeff\U000e0041"),
        ("\udcff", r"\udcff"),
    ],
)
def test_what_a_terminal_obeys_or_hides_is_an_escape(text: str, shown: str) -> None:
    assert printable(text) == shown
    assert printable(shown) == shown


def test_what_is_to_be_kept_stays() -> None:
    assert printable("a\n\tb\r\x1b", keep="\n\t") == "a\n\tb\\r\\x1b"


@pytest.mark.parametrize("value", ["9" * 5_000, "\x1b" * 5_000, int("9" * 4_000), b"9" * 5_000])
def test_a_quoted_value_has_80_characters_at_most(value: object) -> None:
    assert len(quoted(value)) == 80
    assert "..." in quoted(value)


def test_a_quoted_value_of_usual_size_is_as_python_writes_it() -> None:
    assert [quoted("it's"), quoted(3.5), quoted(None)] == ['"it\'s"', "3.5", "None"]


def test_of_many_names_the_first_20_are_shown() -> None:
    assert listed(range(1, 1021)) == f"{', '.join(map(str, range(1, 21)))} and 1,000 more"


def test_of_a_text_with_tracebacks_the_last_error_is_shown() -> None:
    frames = 'Traceback (most recent call last):\n  File "m.py", line 1, in f\n    g()\n'
    during = "\n\nDuring handling of the above exception, another exception occurred:\n\n"
    first, last = "ValueError: odd\nsecond", "ValueError: odd\nsecond [while running 'Step']\n"
    told = RuntimeError(f"{frames}{first}{during}{frames}{last}")
    assert first_line(told) == "RuntimeError: ValueError: odd"
    assert one_line(told) == "RuntimeError: ValueError: odd second [while running 'Step']"
    of_java = RuntimeError(f"java.lang.RuntimeException: for instruction 2: {frames}{last}\n\tat C")
    assert first_line(of_java) == "RuntimeError: ValueError: odd"
    alone = "Traceback (most recent call last):"
    assert first_line(RuntimeError(f"{alone}\n")) == f"RuntimeError: {alone}"


def test_of_tensorflows_error_in_another_one_the_reason_is_shown() -> None:
    name = "tensorflow.python.framework.errors_impl.ResourceExhaustedError"
    told = RuntimeError(
        f"{name}: Graph execution error:\n\nDetected at node foo defined at (most recent call "
        "last):\n<stack traces unavailable>\nOOM when allocating tensor\n\t [[{{node foo}}]]"
    )
    assert first_line(told) == "RuntimeError: OOM when allocating tensor"


def test_an_error_of_grpc_is_what_went_wrong_and_not_that_a_call_did() -> None:
    told = RuntimeError(
        "<_InactiveRpcError of RPC that terminated with:\n\tstatus = StatusCode.UNAVAILABLE\n"
        '\tdetails = "failed to connect"\n\tdebug_error_string = "..."\n>'
    )
    assert first_line(told) == 'RuntimeError: details = "failed to connect"'


def test_an_error_of_many_lines_is_one_of_300_characters_at_most() -> None:
    assert one_line(ValueError("a\n  b\n")) == "ValueError: a b"
    assert len(one_line(OSError("line\n" * 1_000))) == 300


def test_an_error_of_tensorflow_is_what_went_wrong_and_not_where() -> None:
    error = RuntimeError(
        "Graph execution error:\n\nDetected at node while/Conv2D defined at (most recent call last)"
        ':\n<stack traces unavailable>\n  File "/a/loop.py", line 9, in step\n\n'
        "2 root error(s) found.\n  OOM when allocating tensor with shape[9]\n\t [[{{node Conv2D}}]]"
    )
    what = "RuntimeError: OOM when allocating tensor with shape[9]"
    assert first_line(error) == what
    assert one_line(error) == f"{what} [[{{{{node Conv2D}}}}]]"
    assert (
        first_line(RuntimeError("Graph execution error:")) == "RuntimeError: Graph execution error:"
    )


@pytest.mark.parametrize(
    ("num_bytes", "text"),
    [
        (0, "0 bytes"),
        (999, "999 bytes"),
        (1000, "1.0 kB"),
        (999_949, "999.9 kB"),
        (999_950, "1.0 MB"),
        (1_432_611, "1.4 MB"),
        (5 * 10**15, "5000.0 TB"),
    ],
)
def test_a_size_reads_as_a_person_says_it(num_bytes: int, text: str) -> None:
    assert size(num_bytes) == text


@pytest.mark.parametrize(
    ("value", "bound", "shown"),
    [
        (0.98, 0.99, ("0.9800", "0.9900")),
        (0.98996, 0.99, ("0.98996", "0.99000")),
        (0.99, 0.99, ("0.9900", "0.9900")),
        (math.nextafter(0.5, 0.0), 0.5, ("0.4999999999999999", "0.5000000000000000")),
        (1e-30, 0.0, ("0." + "0" * 17, "0." + "0" * 17)),
        (math.nan, 0.3, ("nan", "0.3000")),
    ],
)
def test_two_numbers_are_shown_with_the_digits_that_tell_them_apart(value, bound, shown) -> None:
    assert apart(value, bound) == shown


@pytest.mark.parametrize(
    ("fraction", "shown"),
    [
        (0.855, "85.5 %"),
        (0.95, "95 %"),
        (0.98766, "98.77 %"),
        (1 - 0.05 / 11, "99.55 %"),
        (0.9975, "99.75 %"),
        (1 - 4.17e-5, "99.9958 %"),
        (1.0, "100 %"),
    ],
)
def test_a_confidence_is_certain_only_where_it_is(fraction: float, shown: str) -> None:
    assert confidence(fraction) == shown


@pytest.mark.parametrize(
    ("p", "shown"),
    [
        (1.0, "p = 1"),
        (0.0256, "p = 0.026"),
        (2e-16, "p = 2e-16"),
        (9e-17, "p < 1e-16"),
        (0.0, "p < 1e-16"),
    ],
)
def test_no_p_value_is_shown_as_0(p: float, shown: str) -> None:
    assert p_value(p) == shown


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.04, "0.0 s"),
        (9.94, "9.9 s"),
        (9.96, "10 s"),
        (59.6, "1 min 00 s"),
        (185, "3 min 05 s"),
        (3599.6, "1 h 00 min"),
        (7620, "2 h 07 min"),
    ],
)
def test_a_duration_reads_as_a_person_says_it(seconds: float, text: str) -> None:
    assert duration(seconds) == text
