"""A test that cannot fail is worse than none: breaking a convention must turn a test red."""

import pytest

from tests.mutations import MUTATIONS, ROOT, Mutation, described, run_mutation, unmutated_run


@pytest.mark.parametrize("mutation", MUTATIONS, ids=lambda m: m.name)
def test_what_a_mutation_changes_still_stands_in_the_code_once(mutation: Mutation) -> None:
    for file, found, _ in mutation.edits:
        assert (ROOT / "service/v2vpose" / file).read_text().count(found) == 1, found


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_an_unchanged_copy_is_green() -> None:
    outcome = unmutated_run()
    assert not outcome.trouble, outcome.trouble
    assert outcome.failed == ()


ALWAYS = ("axis order: occupancy x, y, z", "half", "y ", "floor")
OFTEN = tuple(next(m for m in MUTATIONS if m.name.startswith(start)) for start in ALWAYS)


@pytest.mark.timeout(600)
@pytest.mark.parametrize("mutation", OFTEN, ids=lambda m: m.name)
def test_one_break_of_each_convention_turns_a_test_red(mutation: Mutation) -> None:
    outcome = run_mutation(mutation)
    assert not outcome.trouble, outcome.trouble
    assert outcome.failed, described(mutation, outcome)


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize("mutation", MUTATIONS, ids=lambda m: m.name)
def test_a_broken_convention_turns_a_test_red(mutation: Mutation) -> None:
    outcome = run_mutation(mutation)
    assert not outcome.trouble, outcome.trouble
    assert outcome.failed, described(mutation, outcome)
