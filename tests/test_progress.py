import sys
from types import ModuleType

import pytest

from going_modular.common import progress


@pytest.mark.parametrize(("in_notebook", "stream"), [(True, "out"), (False, "err")])
def test_a_bar_stands_where_it_disturbs_nothing(in_notebook, stream, monkeypatch, capsys):
    if in_notebook:
        monkeypatch.setitem(sys.modules, "ipykernel", ModuleType("ipykernel"))
    else:
        monkeypatch.delitem(sys.modules, "ipykernel", raising=False)
    assert list(progress.bar(range(3), desc="Rows")) == [0, 1, 2]
    shown = capsys.readouterr()
    assert "Rows: 100%" in getattr(shown, stream)
    assert shown.out + shown.err == getattr(shown, stream)
