"""Training: data, losses and metrics of a model, steps, programs and the loop."""
