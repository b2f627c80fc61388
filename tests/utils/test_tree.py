"""Structures under Keras's names."""

import collections

import keras
import pytest

from pellucid import tree

Point = collections.namedtuple("Point", "x y")
STRUCTURES = [
    3,
    None,
    [],
    {},
    [1, (2, None), {"b": 3, "a": [4]}],
    {"z": Point(1, [2, 3]), "a": ()},
    collections.OrderedDict(b=1, a=[2]),
    (1, [2, [3, [4]]]),
]


@pytest.mark.parametrize("structure", STRUCTURES, ids=str)
def test_structures_are_taken_apart_as_keras_does(structure):
    assert tree.flatten(structure) == keras.tree.flatten(structure)
    assert tree.is_nested(structure) == keras.tree.is_nested(structure)
    assert tree.flatten_with_path(structure) == keras.tree.flatten_with_path(structure)
    assert tree.map_structure(str, structure) == keras.tree.map_structure(str, structure)
    assert tree.lists_to_tuples(structure) == keras.tree.lists_to_tuples(structure)
    leaves = [10 + i for i in range(len(tree.flatten(structure)))]
    assert tree.pack_sequence_as(structure, leaves) == keras.tree.pack_sequence_as(structure, leaves)
    tree.assert_same_structure(structure, tree.map_structure(lambda _: 0, structure))


def test_none_may_stay():
    assert tree.map_structure(lambda v: v + 1, [1, None], none_is_leaf=False) == [2, None]
    assert tree.map_structure(lambda v: v is None, [1, None]) == [False, True]


@pytest.mark.parametrize("side", [tree, keras.tree], ids=["ours", "keras"])
def test_parts_are_replaced_from_above_and_from_below(side):
    given = {"a": [1, 2], "b": (3, [4])}
    doubled = side.traverse(lambda part: 2 * part if isinstance(part, int) else None, given)
    assert doubled == {"a": [2, 4], "b": (6, [8])}
    assert side.traverse(lambda part: sum(part) if isinstance(part, list) else None, given) == {"a": 3, "b": (3, 4)}
    assert side.traverse(lambda part: len(part) if isinstance(part, list | tuple) else None, given, top_down=False) == {"a": 2, "b": 2}
    assert side.traverse(lambda part: side.MAP_TO_NONE if part == 3 else None, given) == {"a": [1, 2], "b": (None, [4])}
    assert side.map_structure_up_to([0, 0], len, [[1, 2], [3]]) == [2, 1]
    assert side.map_shape_structure(len, {"x": (None, 3), "y": [2]}) == {"x": 2, "y": 1}


@pytest.mark.parametrize("side", [tree, keras.tree], ids=["ours", "keras"])
def test_structures_that_differ_are_told_of(side):
    with pytest.raises(ValueError, match=r"."):
        side.map_structure(lambda a, b: a, [1, 2], [1])
    with pytest.raises(ValueError, match=r"."):
        side.assert_same_structure([1, 2], [1, [2]])
    with pytest.raises(ValueError, match=r"."):
        side.assert_same_paths({"a": 1}, {"b": 1})
    side.assert_same_paths([1, 2], (1, 2))
    with pytest.raises(ValueError, match=r"."):
        side.pack_sequence_as([1, 2], [1])
    with pytest.raises(TypeError, match=r"."):
        side.map_structure(3, [1])
    with pytest.raises(ValueError, match=r"."):
        side.map_structure(str)
