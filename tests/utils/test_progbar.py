"""The progress bar of one's own loops, and whether bars are drawn at all."""

import sys

import pytest

import pellucid
from pellucid import utils
from pellucid.training.callbacks import progress


def test_means_over_the_steps_and_values_as_they_are_are_told_at_the_end(capsys):
    bar = utils.Progbar(4, stateful_metrics=["rate"])
    bar.update(1, [("loss", 4.0), ("rate", 1.0)])
    assert capsys.readouterr().out == ""
    bar.add(3, [("loss", 0.0), ("rate", 0.5)])
    said = capsys.readouterr().out
    assert said.startswith("4/4 - ") and "loss: 1.0000" in said and "rate: 0.5000" in said


def test_without_a_target_the_end_is_said(capsys):
    bar = utils.Progbar(None, verbose=2)
    bar.update(3, [("loss", 1.0)])
    bar.update(5, [("loss", 1.0)], finalize=True)
    assert capsys.readouterr().out.startswith("5/5 - ")
    silent = utils.Progbar(1, verbose=0)
    silent.update(1)
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize("enabled", [True, False])
def test_no_bar_is_drawn_where_that_is_switched_off(monkeypatch, enabled):
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True, raising=False)
    monkeypatch.setattr(progress, "_is_live", lambda: True)
    if not enabled:
        utils.disable_interactive_logging()
    try:
        assert pellucid.config.is_interactive_logging_enabled() is enabled
        bar = progress.ProgressBar()
        bar.begin("", 3)
        assert bar._live is enabled
    finally:
        utils.enable_interactive_logging()
