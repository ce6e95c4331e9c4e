"""The closed set of errors."""

import re

import pytest

from v2vpose import errors
from v2vpose.errors import PoseError

ALL = PoseError.__subclasses__()


def test_the_set_is_what_the_module_defines_and_nothing_else() -> None:
    defined = {v for v in vars(errors).values() if isinstance(v, type) and v is not PoseError}
    assert {e for e in defined if issubclass(e, PoseError)} == set(ALL)


def test_the_docstring_s_tree_names_every_error_once() -> None:
    assert errors.__doc__ is not None
    named = re.findall(r"[├└]── (\w+) ", errors.__doc__)
    assert sorted(named) == sorted(e.__name__ for e in ALL)


def test_no_error_is_a_special_case_of_another_so_that_the_status_table_has_no_order() -> None:
    assert [e for e in ALL if e.__subclasses__()] == []


@pytest.mark.parametrize("error", ALL, ids=lambda e: e.__name__)
def test_a_code_is_the_class_s_name_in_snake_case(error: type[PoseError]) -> None:
    words = re.findall(r"[A-Z][a-z]+", error.__name__.removesuffix("Error"))
    assert error.code == "_".join(words).lower()
    assert "code" in vars(error), "inherited codes would not be unique"


def test_codes_are_unique() -> None:
    assert len({error.code for error in ALL}) == len(ALL)


@pytest.mark.parametrize("error", ALL, ids=lambda e: e.__name__)
def test_an_error_carries_its_text_and_says_what_it_means(error: type[PoseError]) -> None:
    assert str(error("fx_px must be > 0, got 0.0")) == "fx_px must be > 0, got 0.0"
    assert error.__doc__
