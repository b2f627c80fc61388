"""save_weights and load_weights: all weights of a layer in a file, and back, or nothing."""

from __future__ import annotations

import contextlib
import dataclasses
import errno
import os
from collections.abc import Iterable, Iterator
from types import ModuleType
from typing import Any

import numpy as np

from pellucid.core import explain
from pellucid.core.checks import check_flags, check_path
from pellucid.core.files import replacing
from pellucid.core.tree import Tree
from pellucid.core.variable import Variable
from pellucid.errors import NotBuiltError, did_you_mean
from pellucid.optimizers import Optimizer
from pellucid.saving import hdf5, safetensors
from pellucid.saving.parts import Part, Walk
from pellucid.saving.report import LoadReport, Misfit
from pellucid.saving.stored import Store, Stored

WRITTEN: dict[str, ModuleType] = {".weights.h5": hdf5, ".safetensors": safetensors}
READ: dict[str, ModuleType] = {**WRITTEN, ".keras": hdf5, ".h5": hdf5, ".hdf5": hdf5}
_NAMES = "a name that ends in '.weights.h5' or '.safetensors'"
_BUILD = "Build it first: model.build((None, …)), or call it on data."


def save_weights(model: Any, filepath: str | os.PathLike, overwrite: bool = True, max_shard_size: float | None = None) -> None:
    """Writes all weights of a model or layer, and the state of its optimizer, to a file: whole, or what was there before stays.

    Args:
        model: that is built.
        filepath: ends in ``.weights.h5`` (HDF5; Keras reads it) or in ``.safetensors``.
        overwrite: whether a file that is there may be replaced.
        max_shard_size: None; files in several parts are not written.

    Raises:
        NotBuiltError: where there are no weights yet.
        ValueError: for another ending.
        FileExistsError: for a file that is there, with ``overwrite=False``.
        OSError: where it cannot be written.

    Example:
        >>> import os, tempfile, numpy as np, pellucid
        >>> model = pellucid.Sequential([pellucid.Input((3,)), pellucid.layers.Dense(2)])
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     file = os.path.join(folder, "model.weights.h5")
        ...     pellucid.saving.save_weights(model, file)
        ...     len(pellucid.saving.load_weights(model, file).loaded)
        2
    """
    where = "save_weights"
    path = check_path(where, "filepath", filepath, _NAMES)
    check_flags(where, overwrite=overwrite)
    _check_layer(where, model)
    form = _Form(where, path, WRITTEN)
    if max_shard_size is not None:
        raise ValueError(f"{where}: max_shard_size={max_shard_size!r}; expected None: files in several parts are not written.")
    if not model.built and not model.weights:
        raise NotBuiltError(f"{where}: {model.name!r} has no weights yet. {_BUILD}")
    if not overwrite and os.path.exists(path):
        raise FileExistsError(f"{where}: {path!r} exists; expected overwrite=True, or another name.")
    arrays: dict[str, Any] = {}
    parts = Walk(model).parts
    for part in parts:
        if part.of_own_form:
            store: dict[str, Any] = {}
            part.owner.save_own_variables(store)
            arrays.update({form.place_of(part, key): _array(where, part, key, value) for key, value in store.items()})
        else:
            arrays.update(dict(zip(form.places(part), part.variables, strict=True)))
    with replacing(path) as temporary:
        form.module.write(temporary, arrays, {form.group_of(part): part.owner.name for part in parts})


def load_weights(
    model: Any,
    filepath: str | os.PathLike,
    skip_mismatch: bool = False,
    objects_to_skip: Iterable[Any] | None = None,
    by_name: bool | None = None,
) -> LoadReport:
    """Takes all weights of a model or layer, and the state of its optimizer, from a file. Where something does not fit, none.

    Args:
        model: that is built.
        filepath: of a file that ``save_weights`` wrote here or in Keras; or of a model that Keras saved (``.keras``).
        skip_mismatch: whether layers whose weights do not fit are left as they are, and the others loaded.
        objects_to_skip: layers that are left as they are, with those inside them.
        by_name: False or None; weights by the names of layers are not read.

    Returns:
        What was loaded. It prints what was not.

    Raises:
        NotBuiltError: where there are no weights yet.
        ValueError: for a file that cannot be read, or does not fit.
        FileNotFoundError: where there is none.
    """
    where = "load_weights"
    path = check_path(where, "filepath", filepath, _NAMES)
    check_flags(where, skip_mismatch=skip_mismatch)
    if objects_to_skip is not None and not isinstance(objects_to_skip, Iterable):
        raise TypeError(f"{where}: objects_to_skip={objects_to_skip!r}; expected a list of layers or None.")
    _check_layer(where, model)
    form = _Form(where, path, READ)
    if by_name:
        raise ValueError(f"{where}: by_name={by_name!r}; expected False: weights have places in the file here, not names.")
    _check_exists(where, path)
    walk = Walk(model, objects_to_skip or ())
    with form.module.opened(path) as arrays:
        plan = _plan(form, walk, arrays, LoadReport(os.path.basename(path), model.name))
        report = plan.report
        if not report.complete or not (model.built or model.weights):
            _complain(where, model, report, skip_mismatch)
        values = [(variable, _read(where, path, stored)) for variable, stored in plan.values]
        with _all_or_nothing(part.owner for part, _ in plan.of_own_form):
            for part, store in plan.of_own_form:
                _load_as_it_likes(where, part, store, report, skip_mismatch)
        for variable, value in values:
            variable.assign(value)
        for part, store in plan.optimizers:
            _load_optimizer(model, part, store, report)
    if not report.complete:
        explain.warn(f"{where}: not all was loaded.\n{report!r}")
    return report


# ---- Places ----


class _Form:
    """The form of a file, by the ending of its name, and where it has what."""

    def __init__(self, where: str, path: str, endings: dict[str, ModuleType]):
        found = [ending for ending in endings if path.endswith(ending)]
        if not found:
            raise ValueError(f"{where}: filepath={path!r}; expected a name that ends in {' or '.join(map(repr, WRITTEN))}.")
        self.module, self.by_number = endings[found[0]], endings[found[0]] is hdf5

    def group_of(self, part: Part) -> str:
        """Where the arrays are of a part that has its own form; in HDF5, of every one."""
        return f"{part.path}/vars" if part.path else "vars"

    def place_of(self, part: Part, key: str) -> str:
        """Where an array of its own form is."""
        apart = isinstance(part.owner, Optimizer) and not key.isdigit()  # Keras would not expect it in the group
        return f"{_more(part)}{key}" if apart else f"{self.group_of(part)}/{key}"

    def places(self, part: Part) -> list[str]:
        """Where the weights of a part are."""
        if self.by_number:
            return [self.place_of(part, str(number)) for number in range(len(part.variables))]
        return [f"{part.path}/{key}" if part.path else key for key in part.keys]

    def group(self, part: Part, arrays: dict[str, Stored]) -> dict[str, Stored]:
        """The arrays of a part's group by their keys there."""
        begins = (f"{self.group_of(part)}/", *([_more(part)] if isinstance(part.owner, Optimizer) else []))
        return {place.removeprefix(b): stored for place, stored in arrays.items() for b in begins if place.startswith(b)}


def _more(part: Part) -> str:
    return f"{part.path}/more/"


@dataclasses.dataclass
class _Plan:
    """What is to be done, once it is known that everything fits."""

    report: LoadReport
    values: list[tuple[Variable, Stored]] = dataclasses.field(default_factory=list)
    of_own_form: list[tuple[Part, Store]] = dataclasses.field(default_factory=list)
    optimizers: list[tuple[Part, Store]] = dataclasses.field(default_factory=list)


def _plan(form: _Form, walk: Walk, arrays: dict[str, Stored], report: LoadReport) -> _Plan:
    plan, left = _Plan(report), dict(arrays)
    for part in walk.parts:
        group = form.group(part, left)
        if part.of_own_form:
            plans = plan.optimizers if isinstance(part.owner, Optimizer) else plan.of_own_form
            plans.append((part, Store(group)))
            taken = [form.place_of(part, key) for key in group]
        else:
            taken = _plan_weights(form, part, left, group, plan)
        for place in taken:
            left.pop(place, None)
    left = {place: stored for place, stored in left.items() if not walk.leaves_out(place)}
    of_optimizer = [place for place in left if "optimizer" in place.split("/")]
    if of_optimizer:
        report.optimizer = f"left out, as {report.model!r} has no optimizer: compile it before"
    report.unexpected += [Misfit(None, place, None, stored.shape) for place, stored in left.items() if place not in of_optimizer]
    return plan


def _plan_weights(form: _Form, part: Part, arrays: dict[str, Stored], group: dict[str, Stored], plan: _Plan) -> list[str]:
    """Enters the weights of a part, all or none, or what does not fit of them. Returns the places that are theirs."""
    variables, places = part.variables, form.places(part)
    fits = len(group) == len(places) if form.by_number else True  # else by the numbers each might get another's
    for variable, place in zip(variables, places, strict=True):
        stored = arrays.get(place)
        if stored is None:
            plan.report.missing.append(Misfit(variable.path, place, variable.shape, None))
        elif stored.shape != variable.shape:
            plan.report.other_shape.append(Misfit(variable.path, place, variable.shape, stored.shape))
        fits &= stored is not None and stored.shape == variable.shape
    if fits:
        plan.values += [(variable, arrays[place]) for variable, place in zip(variables, places, strict=True)]
        plan.report.loaded.update({place: variable.path for variable, place in zip(variables, places, strict=True)})
    return places


# ---- Loading ----


def _read(where: str, path: str, stored: Stored) -> np.ndarray:
    try:
        return stored.read()
    except OSError as error:
        raise ValueError(f"{where}: {path!r} is damaged; nothing was loaded: {error}") from None


@contextlib.contextmanager
def _all_or_nothing(owners: Iterable[Any]) -> Iterator[None]:
    """Puts the weights of layers back where an error comes out."""
    before = [(variable, variable.copied()) for owner in owners for variable in owner.variables]
    try:
        yield
    except BaseException:
        for variable, value in before:
            variable.assign(value)
        raise


def _load_as_it_likes(where: str, part: Part, store: Store, report: LoadReport, skip_mismatch: bool) -> None:
    try:
        with _all_or_nothing([part.owner]):
            part.owner.load_own_variables(store)
    except Exception as error:
        if not skip_mismatch:
            error.add_note(f"{where}: this was raised by load_own_variables of layer {part.owner.path!r}.")
            raise
        report.failed[part.owner.path] = f"{type(error).__name__}: {error}"
    else:
        report.loaded.update({f"{part.path}/vars/{key}": f"{part.owner.path}/{key}" for key in store})


def _load_optimizer(model: Any, part: Part, store: Store, report: LoadReport) -> None:
    """The state of an optimizer; where it does not fit, it stays as it was: the weights are worth having all the same."""
    if not store:
        report.optimizer = f"none in the file; that of {part.owner.name!r} stays as it is"
        return
    if not part.owner.built:
        part.owner.build(model.trainable_variables)
    try:
        part.owner.load_own_variables(store)
        report.optimizer = "loaded"
    except ValueError as error:
        report.optimizer = f"not loaded: {error}"
        explain.warn(f"load_weights: the state of the optimizer was not loaded. {error}")


# ---- Errors ----


def _array(where: str, part: Part, key: str, value: Any) -> Any:
    array = value if isinstance(value, Variable) else np.asarray(value)
    if not isinstance(array, Variable) and array.dtype.kind in "OSUMm":
        raise TypeError(f"{where}: save_own_variables of {part.owner.name!r} stores {value!r} as {key!r}; expected an array of numbers.")
    return array


def _check_layer(where: str, model: Any) -> None:
    if not isinstance(model, Tree):
        raise TypeError(f"{where}: model={model!r}; expected a Model or a Layer.")


def _check_exists(where: str, path: str) -> None:
    if os.path.isdir(path):
        raise IsADirectoryError(errno.EISDIR, f"{where}: a folder; expected a file", path)
    if not os.path.exists(path):
        folder = os.path.dirname(path) or "."
        if not os.path.isdir(folder):
            raise FileNotFoundError(f"{where}: there is no file {path!r}, and no folder {folder!r}.")
        others = [name for name in os.listdir(folder) if name.endswith(tuple(READ))]
        near = did_you_mean(os.path.basename(path), others) if others else f"There is no file of weights in {folder!r}."
        raise FileNotFoundError(f"{where}: there is no file {path!r}. {near}")


def _complain(where: str, model: Any, report: LoadReport, skip_mismatch: bool) -> None:
    unbuilt = [layer for layer in model._flatten_layers() if not layer.built]
    if unbuilt and not report.loaded:
        raise NotBuiltError(f"{where}: {model.name!r} has no weights yet, so that nothing of {report.file!r} can be loaded. {_BUILD}")
    if skip_mismatch or report.complete:
        return
    also = f"\nThe layer {unbuilt[0].path!r} is not built: it has no weights yet." if unbuilt else ""
    raise ValueError(
        f"{where}: {report.file!r} does not fit {model.name!r}; nothing was loaded.\n{report.misfits()}{also}\n"
        "Make the model as it was when the file was written, or load the layers that fit with skip_mismatch=True."
    )
