import ipykernel  # noqa: F401  that it is imported says nothing of where this runs
import nbformat
import pytest
from commands import HANGS
from nbclient import NotebookClient

from going_modular.common import progress

CELL = """
from tqdm import tqdm
from going_modular.common.progress import bar
print("first")
for _ in bar(range(2), desc="Outer"):
    for _ in bar(range(50), desc="Inner", mininterval=0):
        pass
    tqdm.write("line")
with bar(total=3, desc="Gone", leave=False) as gone:
    gone.update()
assert list(bar(range(3), disable=True)) == [0, 1, 2]
for step in bar(range(4), desc="Fails", mininterval=0):
    assert step < 3
"""


def test_without_a_notebook_a_bar_stands_on_standard_error(capsys):
    assert list(progress.bar(range(3), desc="Rows")) == [0, 1, 2]
    shown = capsys.readouterr()
    assert "Rows: 100%" in shown.err
    assert shown.out == ""


@pytest.mark.slow
def test_in_a_notebook_a_bar_is_one_output_that_is_updated_in_place():
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(CELL)])
    NotebookClient(notebook, timeout=HANGS, kernel_name="python3", allow_errors=True).execute()
    outputs = notebook.cells[0].outputs
    texts = [output.get("text") or output.get("data", {}).get("text/plain", "") for output in outputs]
    printed = "".join(text for output, text in zip(outputs, texts, strict=True) if output.output_type == "stream")
    assert printed == "first\nline\nline\n"
    bars = [output.data for output in outputs if output.output_type == "display_data"]
    assert [list(bar) for bar in bars] == [["text/plain"]] * 5
    outer, *inner, gone, fails = (bar["text/plain"] for bar in bars)
    assert outer.startswith("Outer: 100%|██████████| 2/2 [")
    assert all(text.startswith("Inner: 100%|██████████| 50/50 [") for text in inner)
    assert gone == ""
    assert fails.startswith("Fails:  75%|███████▌  | 3/4 [")
    assert [outputs[0].output_type, outputs[-1].ename] == ["stream", "AssertionError"]
