"""Streams of seeds: independent of each other, repeatable, the same in every process."""

import pytest

from pellucid.core import seeds

FIRST = [301781313792713558, 4914981164824982448]  # of stream "x" with global seed 3


@pytest.fixture(autouse=True)
def restored():
    before = seeds._global_seed, dict(seeds._counts)
    yield
    seeds._global_seed = before[0]
    seeds._counts.clear()
    seeds._counts.update(before[1])


def test_streams_do_not_influence_each_other():
    seeds.set_global_seed(1)
    alone = [seeds.next_seed("dropout") for _ in range(3)]
    seeds.set_global_seed(1)
    mixed = [(seeds.next_seed("shuffle"), seeds.next_seed("dropout"))[1] for _ in range(3)]
    assert alone == mixed
    assert len({*alone, seeds.next_seed("shuffle"), seeds.next_seed("initializers")}) == 5
    assert all(0 <= seed < 2**63 for seed in alone)


def test_another_global_seed_gives_other_seeds():
    seeds.set_global_seed(1)
    first = seeds.next_seed("dropout")
    seeds.set_global_seed(2)
    assert seeds.next_seed("dropout") != first


def test_seeds_are_the_same_in_every_process():
    seeds.set_global_seed(3)
    assert [seeds.next_seed("x"), seeds.next_seed("x")] == FIRST


def test_without_a_global_seed_they_come_from_the_system(monkeypatch):
    monkeypatch.setattr(seeds, "_global_seed", None)
    drawn = []
    for _ in range(2):
        monkeypatch.setattr(seeds, "_entropy", None)
        seeds._counts.clear()
        drawn.append(seeds.next_seed("x"))
    assert drawn[0] != drawn[1]


@pytest.mark.parametrize("seed", [-1, 1.5, "1", True])
def test_what_is_no_whole_number_is_refused(seed):
    with pytest.raises(ValueError, match="cannot be used; expected a whole number"):
        seeds.set_global_seed(seed)
