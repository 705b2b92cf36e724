"""Code written for the well-known course runs on this package, and gives what it gives there."""

import importlib
import inspect
import random
import subprocess
import sys

import nbformat
import numpy as np
import pytest
import torch
from commands import HANGS, count_colours
from matplotlib import pyplot as plt
from nbclient import NotebookClient
from PIL import Image
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset
from torchvision.transforms import v2

import going_modular
from going_modular import data_setup, engine, plots, predict, utils
from going_modular.common.device import reading_workers
from going_modular.common.errors import InputError
from going_modular.model_builder import TinyVGG

SMALL = v2.Compose([v2.Resize((16, 16)), v2.PILToTensor(), v2.ToDtype(torch.float32, scale=True)])
WHITE = v2.Compose([SMALL, torch.ones_like])
NAMES = ["cat", "dog", "owl"]
RESULTS = {name: [0.9, 0.5] for name in ("train_loss", "train_acc", "test_loss", "test_acc")}


@pytest.fixture
def folders(make_classes):
    return make_classes("food/train", images=10), make_classes("food/test", images=2)


@pytest.fixture(autouse=True)
def no_figure_is_left():
    yield
    plt.close("all")


def points(count: int = 40) -> TensorDataset:
    generator = torch.Generator().manual_seed(1)
    return TensorDataset(torch.randn(count, 8, generator=generator), torch.randint(0, 3, (count,), generator=generator))


# loaders


def tiny_results(loaders) -> tuple[dict, dict]:
    """Train as learners do who compare models: seed, build, train; return results and weights."""
    engine.set_seeds()
    model = nn.Sequential(nn.Dropout(0.2), TinyVGG(3, 4, 2, image_size=16))
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
    results = engine.train(model, *loaders, optimizer, nn.CrossEntropyLoss(), 2, "cpu", progress=False)
    return results, model.state_dict()


@pytest.mark.slow
def test_reseeded_trainings_on_one_pair_of_loaders_are_the_same_with_and_without_workers(folders):
    seen = []
    for num_workers in (0, 2):
        *loaders, _ = data_setup.create_dataloaders(*folders, SMALL, 8, num_workers)
        seen += [tiny_results(loaders) for _ in range(3 if num_workers else 1)]
    for results, weights in seen[1:]:
        assert results == seen[0][0]
        torch.testing.assert_close(weights, seen[0][1], rtol=0, atol=0)


@pytest.mark.parametrize("num_workers", [0, pytest.param(2, marks=pytest.mark.slow)])
def test_reseeding_brings_random_transforms_back(folders, num_workers):
    jitter = v2.Compose([SMALL, lambda image: image + torch.rand(1) + random.random() + np.random.rand()])
    loader, *_ = data_setup.create_dataloaders(*folders, jitter, 8, num_workers)
    passes = []
    for seed in (1, 1, 2):
        engine.set_seeds(seed)
        passes.append(torch.cat([images for images, _ in loader]).double())
    assert torch.equal(passes[0], passes[1])
    assert not torch.equal(passes[0], passes[2])


@pytest.mark.parametrize("num_workers", [0, pytest.param(2, marks=pytest.mark.slow)])
def test_a_changed_transform_is_seen_at_the_next_pass(folders, num_workers):
    loaders = data_setup.create_dataloaders(*folders, SMALL, 8, num_workers)[:2]
    for loader in loaders:
        assert next(iter(loader))[0].min() < 1
        loader.dataset.transform = WHITE
        assert all(images.min() == 1 for images, _ in loader)


def test_the_default_number_of_workers_has_their_name(folders):
    assert reading_workers() == data_setup.NUM_WORKERS
    loader, *_ = data_setup.create_dataloaders(*folders, SMALL, 8)
    assert loader.num_workers == data_setup.NUM_WORKERS
    with pytest.raises(AttributeError, match="no attribute 'NUM_WORKER'"):
        _ = data_setup.NUM_WORKER


# the loop


class KeepsBatchNorm(nn.Module):
    """A model that keeps BatchNorm's statistics by overriding `train()`, though its weights learn."""

    def __init__(self) -> None:
        super().__init__()
        self.normal, self.drop, self.head = nn.BatchNorm1d(8), nn.Dropout(0.5), nn.Linear(8, 3)
        self.asked = []

    def train(self, mode: bool = True) -> nn.Module:
        self.asked.append(mode)
        super().train(mode)
        self.normal.eval()
        return self

    def forward(self, batch: torch.Tensor) -> torch.Tensor:
        return self.head(self.drop(self.normal(batch)))


@pytest.mark.parametrize("inside", [False, True], ids=["the model", "a part of it"])
def test_a_model_that_overrides_train_is_obeyed(inside):
    keeper = KeepsBatchNorm()
    model = nn.Sequential(nn.Dropout(0.1), keeper) if inside else keeper
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    engine.train_step(model, DataLoader(points(), 8), nn.CrossEntropyLoss(), optimizer, "cpu")
    assert keeper.asked == [True]
    assert (keeper.training, keeper.drop.training, keeper.normal.training) == (True, True, False)
    assert torch.equal(keeper.normal.running_mean, torch.zeros(8))
    assert not torch.equal(keeper.normal.weight, torch.ones(8))  # it learns

    keeper.requires_grad_(False)
    keeper.head.requires_grad_(True)
    engine.train_step(model, DataLoader(points(), 8), nn.CrossEntropyLoss(), optimizer, "cpu")
    assert (keeper.training, keeper.drop.training, keeper.normal.training) == (True, True, False)


class Focal(nn.Module):
    """A loss function as learners write them: with attributes that mean something else than torch's."""

    def __init__(self, weight: object, reduction: str = "mean") -> None:
        super().__init__()
        self.weight, self.reduction = weight, reduction

    def forward(self, logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        return F.cross_entropy(logits, labels)


def mean_by_samples(logits, labels):
    return F.cross_entropy(logits, labels).reshape(1)  # one number, in a tensor with a dimension


@pytest.mark.parametrize(
    "loss_fn",
    [
        Focal(0.25),
        Focal([1.0, 2.0, 3.0]),
        Focal(torch.tensor(0.25)),
        Focal(torch.tensor([1.0, 2.0])),
        Focal(nn.Linear(2, 2)),
        Focal(None, reduction="none"),
        F.cross_entropy,
        mean_by_samples,
    ],
    ids=["number", "list", "scalar", "two", "module", "reduction", "function", "one-element"],
)
def test_a_loss_function_may_have_attributes_of_any_kind(loss_fn):
    torch.manual_seed(0)
    model, loader = nn.Linear(8, 3), DataLoader(points(), 16)  # the last batch has 8 of 40
    expected = F.cross_entropy(model(points().tensors[0]), points().tensors[1]).item()
    assert engine.test_step(model, loader, loss_fn, "cpu")[0] == pytest.approx(expected)
    still = torch.optim.SGD(model.parameters(), lr=0)
    assert engine.train_step(model, loader, loss_fn, still, "cpu")[0] == pytest.approx(expected)


@pytest.mark.parametrize("weight", [None, torch.tensor([1.0, 5.0, 0.2])], ids=["plain", "weighted"])
def test_labels_that_the_loss_ignores_do_not_count_in_its_mean(weight):
    data = points()
    data.tensors[1][:3] = -100
    torch.manual_seed(0)
    model, loss_fn = nn.Linear(8, 3), nn.CrossEntropyLoss(weight=weight)
    expected = loss_fn(model(data.tensors[0]), data.tensors[1]).item()
    assert engine.test_step(model, DataLoader(data, 16), loss_fn, "cpu")[0] == pytest.approx(expected)


@pytest.mark.parametrize(
    ("loss_fn", "named"),
    [
        (nn.CrossEntropyLoss(reduction="none"), r"a tensor of shape \(16,\)"),
        (lambda logits, _: logits, r"a tensor of shape \(16, 3\)"),
        (lambda logits, _: (logits.mean(), 0), "a tuple"),
        (lambda logits, _: logits.mean().item(), "a float"),
    ],
    ids=["none", "logits", "tuple", "float"],
)
def test_a_loss_that_is_not_one_number_is_named_before_anything_is_learned(loss_fn, named):
    model, loader = nn.Linear(8, 3), DataLoader(points(), 16)
    before = model.weight.detach().clone()
    message = f"^The loss function returned {named}; .*reduction='mean'"
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    for run in (
        lambda: engine.train_step(model, loader, loss_fn, optimizer, "cpu"),
        lambda: engine.test_step(model, loader, loss_fn, "cpu"),
    ):
        with pytest.raises(InputError, match=message):
            run()
    assert torch.equal(model.weight, before)


class TurnsNaN(nn.Module):
    """A loss that is not a number from a certain batch on."""

    def __init__(self, batches: int) -> None:
        super().__init__()
        self.left = batches

    def forward(self, logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        self.left -= 1
        return F.cross_entropy(logits, labels) * (1 if self.left >= 0 else torch.nan)


@pytest.mark.parametrize(
    ("batches", "epochs", "part"), [(0, 0, "training"), (3, 0, "test"), (8, 2, "training"), (11, 2, "test")]
)
def test_a_loss_that_is_not_finite_keeps_the_results_of_the_epochs_before(batches, epochs, part):
    """An epoch has three batches to train on and one to test on."""

    def train(loss_fn: nn.Module, epochs: int) -> dict:
        torch.manual_seed(0)
        model = nn.Linear(8, 3)
        loaders = DataLoader(points(), 16), DataLoader(points(), 40)
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        return engine.train(model, *loaders, optimizer, loss_fn, epochs, "cpu", progress=False)

    with pytest.raises(engine.DivergedError, match=f"^The {part} loss became nan; lower the learning rate") as caught:
        train(TurnsNaN(batches), 5)
    assert isinstance(caught.value, InputError)
    whole = train(nn.CrossEntropyLoss(), epochs)
    assert caught.value.results == whole
    assert [len(values) for values in whole.values()] == [epochs] * 4
    notes = getattr(caught.value, "__notes__", [])
    assert bool(notes) == bool(epochs)
    assert all("sys.last_value.results" in note for note in notes)
    if epochs:
        plots.plot_loss_curves(caught.value.results)


def test_set_seeds_without_an_argument_is_42():
    draws = []
    for seed in ((), (42,), (7,)):
        engine.set_seeds(*seed)
        draws.append((random.random(), np.random.rand(), torch.rand(1).item()))
    assert draws[0] == draws[1]
    assert draws[0] != draws[2]


# figures


def flat(images: torch.Tensor) -> torch.Tensor:
    return torch.tensor([[0.0, 2.0, 0.0]])


class NoParameters(nn.Module):
    def forward(self, images: torch.Tensor) -> torch.Tensor:
        assert images.device.type == "cpu"
        return flat(images)


def draw_curves(_) -> None:
    assert plots.plot_loss_curves(RESULTS) is None


def draw_prediction(path) -> None:
    assert predict.pred_and_plot_image(NoParameters(), NAMES, path, (32, 32)) is None


@pytest.mark.slow
@pytest.mark.parametrize("draw", [draw_curves, draw_prediction])
def test_a_figure_can_be_saved_and_titled_after_the_call_and_nothing_is_shown(draw, make_image, tmp_path, monkeypatch):
    monkeypatch.setattr(plt, "show", lambda *_, **__: pytest.fail("shown"))
    path = make_image("photo.png")
    for count in (1, 2):
        draw(path)
        assert len(plt.get_fignums()) == count  # one a call
        plt.title("My title")
        assert len(plt.get_fignums()) == count
        assert plt.gcf().axes[-1].get_title() == "My title"
        plt.savefig(tmp_path / f"{count}.png")
    for count in (1, 2):
        with Image.open(tmp_path / f"{count}.png") as image:
            assert count_colours(np.asarray(image.convert("RGB"))) > 30


@pytest.mark.parametrize("names", [[], ["cat"], ["cat", "dog"], [*NAMES, "yak"]])
def test_class_names_that_do_not_fit_the_model_are_refused_before_anything_is_drawn(make_image, names):
    with pytest.raises(InputError, match=rf"^{len(names)} class_names for a model with 3 outputs; ") as caught:
        predict.pred_and_plot_image(nn.Sequential(NoParameters()), names, make_image("photo.png"))
    assert "\n" not in str(caught.value)
    assert plt.get_fignums() == []


# names


def test_tinyvgg_by_their_names():
    def weights(*arguments: int, **options: int) -> dict:
        torch.manual_seed(0)
        return TinyVGG(*arguments, **options).state_dict()

    ours = weights(in_channels=3, hidden_units=10, num_classes=4)
    for theirs in (
        weights(3, 10, 4),
        weights(input_shape=3, hidden_units=10, output_shape=4),
        weights(3, 10, output_shape=4, image_size=64),
    ):
        torch.testing.assert_close(theirs, ours, rtol=0, atol=0)
    assert list(inspect.signature(TinyVGG).parameters) == ["in_channels", "hidden_units", "num_classes", "image_size"]
    for options in ({"in_channels": 3, "input_shape": 3}, {"hidden_units": 4, "output_shape": 2, "num_classes": 2}):
        with pytest.raises(TypeError, match="are one argument; give one of them"):
            TinyVGG(**options)
    with pytest.raises(TypeError, match="num_classes"):
        TinyVGG(input_shape=3, hidden_units=10)
    with pytest.raises(TypeError, match="in_channels"):
        TinyVGG(3, 10, 4, input_shape=3)


class Theirs(nn.Module):
    """TinyVGG with the names of its parts there."""

    def __init__(self) -> None:
        super().__init__()
        blocks = [
            nn.Sequential(nn.Conv2d(i, 10, 3), nn.ReLU(), nn.Conv2d(10, 10, 3), nn.ReLU(), nn.MaxPool2d(2))
            for i in (3, 10)
        ]
        self.conv_block_1, self.conv_block_2 = blocks
        self.classifier = nn.Sequential(nn.Flatten(), nn.Linear(10 * 13 * 13, 3))

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.classifier(self.conv_block_2(self.conv_block_1(images)))


def test_weights_saved_there_load_here(tmp_path):
    theirs, ours = Theirs(), TinyVGG(input_shape=3, hidden_units=10, output_shape=3)
    utils.save_model(model=theirs, target_dir=str(tmp_path / "new" / "models"), model_name="tiny.pth")
    ours.load_state_dict(torch.load(f=tmp_path / "new" / "models" / "tiny.pth"))
    images = torch.rand(2, 3, 64, 64)
    torch.testing.assert_close(ours(images), theirs(images))


@pytest.mark.parametrize("name", ["tiny.pt", "tiny.pth", "tiny.v1.pth"])
def test_save_model_replaces_what_was_there(tmp_path, name):
    for _ in range(2):
        model = nn.Linear(2, 2)
        assert utils.save_model(model, tmp_path, name) is None
        torch.testing.assert_close(torch.load(tmp_path / name), model.state_dict(), rtol=0, atol=0)
    assert [path.name for path in tmp_path.iterdir()] == [name]


@pytest.mark.parametrize("name", ["tiny", "tiny.safetensors", ".pth.zip", ""])
def test_save_model_names_a_name_that_it_does_not_take(tmp_path, name):
    with pytest.raises(InputError, match=r"^model_name is '.*'; end it in \.pth or \.pt"):
        utils.save_model(nn.Linear(2, 2), tmp_path / "models", name)
    assert list(tmp_path.iterdir()) == []


def test_save_model_names_a_folder_that_cannot_be_written(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match="file"):
        utils.save_model(nn.Linear(2, 2), tmp_path / "file" / "models", "tiny.pth")


def test_utils_has_the_functions_that_their_helpers_have():
    assert utils.set_seeds is engine.set_seeds
    assert utils.plot_loss_curves is plots.plot_loss_curves


def test_the_version_is_that_of_the_installed_package():
    from importlib.metadata import version

    assert going_modular.__version__ == version("going-modular")
    with pytest.raises(AttributeError, match="no attribute 'versoin'"):
        _ = going_modular.versoin


def test_imports_as_their_code_says_them():
    import going_modular.going_modular.data_setup as nested_data_setup
    from going_modular.going_modular import engine as nested_engine
    from going_modular.going_modular.model_builder import TinyVGG as NestedTinyVGG
    from going_modular.going_modular.predictions import pred_and_plot_image
    from going_modular.going_modular.utils import save_model
    from going_modular.predictions import pred_and_plot_image as same

    assert (nested_data_setup, nested_engine, NestedTinyVGG) == (data_setup, engine, TinyVGG)
    assert pred_and_plot_image is same is predict.pred_and_plot_image
    assert save_model is utils.save_model


@pytest.mark.slow
@pytest.mark.parametrize(
    "line",
    [
        "from going_modular.going_modular.common import seeds",
        "import going_modular.going_modular.common.seeds as seeds",
        "from going_modular.going_modular.common.seeds import DEFAULT_SEED; from going_modular.common import seeds",
        "import going_modular.going_modular.common.seeds; seeds = going_modular.going_modular.common.seeds",
        "from going_modular.common import seeds; import going_modular.going_modular.common.seeds",
    ],
)
def test_a_module_is_loaded_once_whatever_it_is_called(line):
    """In a process of its own: what was imported before changes what an import does."""
    code = (
        f"{line}\nimport sys, importlib, going_modular\nname = 'going_modular.common.seeds'\n"
        "assert seeds is sys.modules[name] is importlib.import_module('going_modular.' + name)\n"
        "assert seeds.__name__ == seeds.__spec__.name == name\n"
        "assert going_modular.__name__ == going_modular.__spec__.name == 'going_modular'\n"
        "assert importlib.reload(seeds) is seeds is going_modular.common.seeds\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=HANGS, check=False)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize(
    "name", ["going_modular.nothing", "going_modular.going_modular.nothing", "going_modular.going_modular.engine.deep"]
)
def test_a_name_that_is_nowhere_is_an_ordinary_error(name):
    with pytest.raises(ModuleNotFoundError, match=name.rpartition(".")[2]):
        importlib.import_module(name)
    assert name not in sys.modules


@pytest.mark.slow
def test_importing_the_package_imports_nothing_heavy():
    code = "import sys, going_modular; print({'torch', 'importlib.metadata', 'tqdm', 'numpy'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=HANGS, check=True)
    assert done.stdout == "set()\n"


# a notebook

IMPORTS = """
import torch
from matplotlib import pyplot as plt
from torch.utils.data import DataLoader, TensorDataset
from going_modular import engine, plots
"""
TRAINS = """
model = torch.nn.Linear(8, 3)
data = TensorDataset(torch.randn(200, 8), torch.randint(0, 3, (200,)))
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
print("before")
results = engine.train(
    model, DataLoader(data, 1), DataLoader(data, 1), optimizer, torch.nn.CrossEntropyLoss(), 5, "cpu"
)
"""
DRAWS = """
plots.plot_loss_curves(results)
plots.plot_loss_curves(results)
plt.title("Mine")
plt.savefig("curves.png")
"""


@pytest.fixture(scope="module")
def executed(tmp_path_factory):
    """Run three cells in a kernel, keeping every message as an output of its own; return folder and outputs."""
    folder = tmp_path_factory.mktemp("notebook")
    notebook = nbformat.v4.new_notebook(
        cells=[nbformat.v4.new_code_cell(source) for source in (IMPORTS, TRAINS, DRAWS)]
    )
    client = NotebookClient(notebook, timeout=HANGS, kernel_name="python3", resources={"metadata": {"path": folder}})
    client.execute()
    return folder, [cell.outputs for cell in notebook.cells]


@pytest.mark.slow
def test_in_a_notebook_a_bar_is_one_output_that_is_updated_in_place(executed):
    _, (_, outputs, _) = executed
    bars = [output for output in outputs if output.output_type == "display_data"]
    assert [list(bar.data) for bar in bars] == [["text/plain"]]
    assert bars[0].data["text/plain"].startswith("Epochs: 100%|██████████| 5/5 [")
    printed = [output for output in outputs if output.output_type == "stream"]
    assert {output.name for output in printed} == {"stdout"}
    lines = "".join(output.text for output in printed).split("\n")
    assert [line.split(" |")[0] for line in lines] == ["before", *(f"Epoch {i}/5" for i in range(1, 6)), ""]
    assert outputs.index(bars[0]) == 1  # after what was printed before it


@pytest.mark.slow
def test_in_a_notebook_figures_show_themselves_at_the_end_of_the_cell(executed):
    folder, (_, _, outputs) = executed
    assert [("image/png" in output.data) for output in outputs] == [True, True]
    with Image.open(folder / "curves.png") as image:
        assert count_colours(np.asarray(image.convert("RGB"))) > 30
