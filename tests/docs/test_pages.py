"""The pages under docs/ are right: every example in them gives what it says."""

from __future__ import annotations

import doctest
from pathlib import Path
from typing import Any, Final

import pytest

from tests.docs.story import Story

PAGES: Final = [
    page for page in sorted(Path(__file__).parents[2].joinpath("docs").glob("*.md")) if ">>> " in page.read_text()
]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_the_examples_of_a_page_give_what_it_says(page: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    """Whoever reads it can rely on it."""

    def story(**settings: Any) -> Story:
        return Story(tmp_path_factory.mktemp("story"), **settings)

    failed, tried = doctest.testfile(
        str(page),
        module_relative=False,
        globs={"Story": story},
        optionflags=doctest.NORMALIZE_WHITESPACE | doctest.ELLIPSIS,
    )

    assert tried > 0
    assert failed == 0
