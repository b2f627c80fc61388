"""Variables, frames, layers: what the rest is built on."""
