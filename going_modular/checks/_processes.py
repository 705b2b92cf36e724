"""Processes played by threads, so that a check can ask what each of several would do."""

import functools
import threading
from collections.abc import Callable

import torch

from going_modular.checks._check import Wrong


class Processes:
    """Runs a function once for each process; they take turns, one goes on until it waits in `all_reduce`.

    Args:
        count: how many.
        shown: what the learner is told of the input.
    """

    def __init__(self, count: int, shown: str) -> None:
        self.shown = shown
        self._turn = threading.Condition()
        self._sent: list[list[torch.Tensor]] = [[] for _ in range(count)]
        self._ended = [False] * count
        # as in real processes, which nobody seeded
        self._random = [torch.Generator().manual_seed(1000 + rank).get_state() for rank in range(count)]
        self._returned: list = [None] * count
        self._errors: list[BaseException | None] = [None] * count

    def run(self, work: Callable[[int, Callable], object]) -> list:
        """Return what `work(rank, all_reduce)` returns in each process, or raise what the first of them raised."""
        threads = [threading.Thread(target=self._enter, args=(work, rank)) for rank in range(len(self._sent))]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        # who waited in vain is not to blame
        errors = sorted((error for error in self._errors if error), key=lambda error: isinstance(error, InVainError))
        if errors:
            raise errors[0]
        return self._returned

    def _enter(self, work: Callable, rank: int) -> None:
        with self._turn:
            torch.set_rng_state(self._random[rank])
            try:
                self._returned[rank] = work(rank, functools.partial(self._all_reduce, rank))
            except Exception as error:  # it is raised again in the thread that asked
                self._errors[rank] = error
            self._random[rank] = torch.get_rng_state()
            self._ended[rank] = True
            self._turn.notify_all()

    def _all_reduce(self, rank: int, tensor: torch.Tensor) -> None:
        """Replace a tensor, in place, by its sum over all processes."""
        self._sent[rank].append(tensor.detach().clone())
        call = len(self._sent[rank])
        self._random[rank] = torch.get_rng_state()
        self._turn.notify_all()
        self._turn.wait_for(
            lambda: all(len(sent) >= call or ended for sent, ended in zip(self._sent, self._ended, strict=True))
        )
        torch.set_rng_state(self._random[rank])
        if any(len(sent) < call for sent in self._sent):
            raise InVainError(
                f"process {rank} waits in all_reduce call {call} for another that never makes it for {self.shown}; "
                "every process has to make the same calls, whatever it has to add"
            )
        parts = [sent[call - 1] for sent in self._sent]
        if len({part.shape for part in parts}) > 1:
            raise Wrong(
                f"all_reduce got tensors of shapes {[tuple(part.shape) for part in parts]} for {self.shown}; "
                "every process has to make the same calls in the same order"
            )
        with torch.no_grad():
            tensor.copy_(torch.stack(parts).sum(dim=0))


class InVainError(Wrong):
    """A process waits for one that has ended."""
