"""The inside of `model_builder.py`: pretrained weights, and the models that torchvision does not have."""
