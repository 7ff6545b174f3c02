"""Activations that write over their input although its gradient needs it, so that autograd copies it first."""

from torch import nn

COPIED = (nn.Hardtanh, nn.SiLU, nn.Hardswish, nn.Hardsigmoid, nn.Mish)  # ReLU6 is a Hardtanh.


def out_of_place(model: nn.Module) -> nn.Module:
    """The same model, whose activations write beside their input where that saves a copy and costs no memory."""
    for module in model.modules():
        if isinstance(module, COPIED):
            module.inplace = False
    return model
