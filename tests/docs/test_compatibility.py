"""The page that says which of Keras's names are present says what is the case."""

import keras
import pytest

import pellucid
from tools import compatibility

pytestmark = pytest.mark.skipif(keras.__version__ != "3.15.1", reason="the page is about Keras 3.15.1")


def test_the_page_of_keras_names_is_up_to_date():
    assert compatibility.PAGE.read_text() == compatibility.page(), "run `python tools/compatibility.py`"


def test_the_page_tells_what_is_present_and_what_is_absent(monkeypatch):
    monkeypatch.delattr(pellucid.losses, "Dice")
    page = compatibility.page()
    section = page.partition("## keras.losses\n")[2].partition("\n## ")[0]
    absent, _, present = section.partition("Present: ")
    assert "`Dice`" in absent and "`Dice`" not in present and "`Loss`" in present
    assert "keras.src" not in page and "keras.legacy" not in page
