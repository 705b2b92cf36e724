"""The package behind the course: data, backbones, the training loop, figures and checkpoints."""
