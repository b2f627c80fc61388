"""Who trains: one entry a peer. Importing this package imports no framework."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Peer:
    """One way of training the workloads.

    Args:
        package: what its user imports: this is the import that is timed, and a peer without its package is skipped.
        module: the module here that has its trainer.
        trainer: the name of a callable there that takes a workload and its data and gives an object with
            `fit(epochs, validate)`, which gives the last epoch's mean loss, and
            `count_calls()`, the runs of `call` up to now (None where there is no such thing).
        by_hand: whether it belongs to the hand-written forms, the better of which is the unit of all ratios.
        models: those that it trains; None for all.
    """

    package: str
    module: str
    trainer: str
    by_hand: bool = False
    models: tuple[str, ...] | None = None

    def trains(self, model: str) -> bool:
        return self.models is None or model in self.models


PEERS = {
    "jax_scan": Peer("jax", "benchmarks.peers.jax_by_hand", "ScanTrainer", by_hand=True),
    "jax_step": Peer("jax", "benchmarks.peers.jax_by_hand", "StepTrainer", by_hand=True),
    "keras": Peer("keras", "benchmarks.peers.keras_api", "keras_trainer"),
    "pellucid": Peer("pellucid", "benchmarks.peers.keras_api", "pellucid_trainer"),
    "torch": Peer("torch", "benchmarks.peers.torch_eager", "Trainer", models=("wide_and_deep", "mlp", "cnn", "gru", "transformer")),
}
