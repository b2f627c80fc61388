"""Training speed of Pellucid beside Keras on JAX and beside JAX written by hand: python -m benchmarks."""
