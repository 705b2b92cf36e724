"""Checks of the exercises of notebook 02, transfer learning with EfficientNet."""

import torch
from torch import nn
from torchvision.models import EfficientNet_B0_Weights

from going_modular.checks._check import Attempt, Check, Wrong


class _Nested(nn.Module):
    """A model with parameters at every depth: its own, a child's, a grandchild's."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(3))
        self.stem = nn.Linear(4, 3)
        self.body = nn.Sequential(nn.Sequential(nn.Linear(3, 3), nn.BatchNorm1d(3)), nn.Linear(3, 2))


@Check
def freeze(attempt: Attempt) -> None:
    """Check a function that freezes a model."""
    model = _Nested()
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    parameters = dict(model.named_parameters())
    attempt(model, shown="a model with parameters at three depths")
    learning = [name for name, parameter in parameters.items() if parameter.requires_grad]
    attempt.require(
        not learning,
        f"{len(learning)} of {len(parameters)} parameters still learn, such as {learning[-1:]}",
        hint="go through model.parameters() and set requires_grad of each",
    )
    attempt.require(
        [id(p) for p in model.parameters()] == [id(p) for p in parameters.values()],
        "parameters were replaced or lost",
        hint="keep the model as it is and set requires_grad only",
    )
    changed = [name for name, tensor in model.state_dict().items() if not torch.equal(tensor, before[name])]
    attempt.require(not changed, f"the values of {changed[:1]} changed", hint="freezing changes no value")


@Check
def parameters_by_part(attempt: Attempt) -> None:
    """Check a function that counts each part's parameters, those that learn and those that are frozen."""
    attempt.expect(
        {"linear": (44, 0)},
        nn.ModuleDict({"linear": nn.Linear(10, 4)}),
        shown="a part `linear` that is nn.Linear(10, 4)",
        hint="40 weights and 4 biases, 0 of them frozen: numel() counts a tensor's values",
    )
    convolution = nn.Conv2d(3, 2, kernel_size=3)
    norm = nn.BatchNorm2d(2).requires_grad_(False)
    parts = nn.ModuleDict({"features": nn.Sequential(convolution, norm), "avgpool": nn.AdaptiveAvgPool2d(1)})
    attempt.expect(
        {"features": (56, 4), "avgpool": (0, 0)},
        parts,
        shown="`features`, a Conv2d(3, 2, kernel_size=3) with a frozen BatchNorm2d(2), and `avgpool`",
        hint="go through module.parameters(), not the layers; running statistics are buffers and do not count",
    )


@Check
def new_head(attempt: Attempt) -> None:
    """Check a function that builds a head of Dropout and Linear."""
    for in_features, num_classes in ((1280, 3), (500, 10)):
        head = attempt(in_features, num_classes, shown=f"in_features={in_features}, num_classes={num_classes}")
        attempt.require(isinstance(head, nn.Module), "returned no module", hint="nn.Sequential makes one of layers")
        linears = [module for module in head.modules() if isinstance(module, nn.Linear)]
        attempt.require(len(linears) == 1, f"found {len(linears)} Linear layers", hint="one Linear layer is the head")

        features = torch.randn(40, in_features, generator=torch.Generator().manual_seed(0))
        head.eval()
        with torch.no_grad():
            logits, doubled, zero = head(features), head(2 * features), head(torch.zeros_like(features))
        attempt.require(
            logits.shape == (40, num_classes),
            f"40 feature vectors became a tensor of shape {tuple(logits.shape)}",
            hint="nn.Linear(in_features, num_classes)",
        )
        attempt.require(
            torch.allclose(doubled - zero, 2 * (logits - zero), atol=1e-3),
            "the logits do not grow with the features",
            hint="no softmax or other function after the Linear layer: the loss wants plain logits",
        )
        attempt.compare(_zeroed(head.eval(), linears[0], features), 0.0, what="the share of zeros in eval mode is",
                        hint="nn.Dropout acts in training only", tolerance=0.01)  # fmt: skip
        attempt.compare(
            _zeroed(head.train(), linears[0], features),
            0.2,
            what="the share of features set to zero in training is",
            hint="nn.Dropout(0.2) stands before the Linear layer",
            tolerance=0.03,
        )
        count = sum(parameter.numel() for parameter in head.parameters() if parameter.requires_grad)
        attempt.compare(
            count, (in_features + 1) * num_classes, what="the number of parameters that learn is",
            hint="the weights and a bias a class",
        )  # fmt: skip


@Check
def train_epoch(attempt: Attempt) -> None:
    """Check a function that trains for one epoch."""
    generator = torch.Generator().manual_seed(0)
    batches = [(torch.randn(4, 5, generator=generator), torch.tensor([0, 1, 2, 1])) for _ in range(3)]
    shown = "a Linear and 3 batches of 4, with SGD"
    loss_fn = nn.CrossEntropyLoss()

    def start() -> tuple[nn.Module, torch.optim.Optimizer]:
        torch.manual_seed(0)
        model = nn.Sequential(nn.Linear(5, 3)).eval()
        return model, torch.optim.SGD(model.parameters(), lr=0.5)

    expected, optimizer = start()
    losses = []
    for images, labels in batches:
        loss = loss_fn(expected(images), labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())

    model, optimizer = start()
    before = model[0].weight.detach().clone()
    found = attempt(model, batches, loss_fn, optimizer, shown=shown)
    attempt.require(
        not torch.equal(model[0].weight, before),
        "no parameter moved",
        hint="loss.backward() computes gradients, optimizer.step() moves the parameters",
    )
    attempt.require(model.training, "the model is in eval mode", hint="model.train() switches Dropout on")
    attempt.compare(
        model[0].weight.detach(),
        expected[0].weight.detach(),
        what="the weights after the epoch are",
        hint="one step a batch, and zero_grad() before each backward(): gradients add up",
    )
    attempt.compare(found, sum(losses) / 3, hint="the mean of the losses, each taken before its step, as a float")
    attempt.require(isinstance(found, float), f"returned a {type(found).__name__}", hint="loss.item() makes a float")


@Check
def predict(attempt: Attempt) -> None:
    """Check a function that turns logits into class names and probabilities."""
    names = ["pizza", "steak", "sushi"]
    cases = [
        (torch.tensor([[2.0, 0.0, -1.0], [3.0, 0.0, 4.0]]), names, "softmax over the classes of each row, dim=1"),
        (torch.tensor([[-3.0, -1.0, -2.0]]), names, "the probability is softmax's, not the logit"),
        (torch.tensor([[0.0, 1000.0], [0.0, 0.0]]), ["no", "yes"], "logits can be large: use softmax, not exp"),
    ]
    for logits, class_names, hint in cases:
        probabilities = logits.softmax(dim=1)
        expected = [(class_names[row.argmax()], row.max().item()) for row in probabilities]
        found = attempt(logits, class_names, shown=f"logits {logits.tolist()}")
        attempt.compare(found, expected, hint=hint)
        attempt.require(
            all(isinstance(probability, float) for _, probability in found),
            "a probability is a tensor",
            hint="tolist() or float() makes numbers",
        )


@Check
def mend(attempt: Attempt) -> None:
    """Check a function that makes a model's input of an image's bytes."""
    transform = EfficientNet_B0_Weights.DEFAULT.transforms()
    rows, columns = torch.meshgrid(torch.arange(240), torch.arange(300), indexing="ij")
    pixels = torch.stack([rows, columns * 5 // 6, 255 - rows], dim=2).to(torch.uint8)  # (H, W, 3), smooth

    found = attempt(pixels.clone(), transform, "cpu", shown="bytes of shape (240, 300, 3)")
    attempt.require(isinstance(found, torch.Tensor), "returned no tensor", hint="return the batch")
    expected = transform(pixels.permute(2, 0, 1)).unsqueeze(0)
    if found.shape == expected.shape[1:]:
        raise Wrong(f"returned one image, {tuple(found.shape)}, for {attempt.shown}; unsqueeze(0) makes it a batch")
    attempt.compare(
        found,
        expected,
        # PIL's resizing and the tensors' differ by a level of 255
        tolerance=0.05,
        hint="permute(2, 0, 1) the bytes, and let the transform scale them",
    )
    on_device = attempt(pixels.clone(), transform, "meta", shown="the device 'meta'")
    attempt.require(
        on_device.device.type == "meta", f"the batch is on {on_device.device}", hint="move it with .to(device)"
    )


def _zeroed(head: nn.Module, linear: nn.Linear, features: torch.Tensor) -> float:
    """Return the share of zeros among the values that reach the Linear layer."""
    seen: list[torch.Tensor] = []
    hook = linear.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0].detach().clone()))
    try:
        head(features.clone())
    finally:
        hook.remove()
    return (seen[0] == 0).double().mean().item()
