"""The pool of actors: lost ones are replaced, and each part is computed."""

import sys
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import pytest

from orchestrator.driver.parts.pool import Pool
from workers.errors import JobError, WorkerFailedError


class RayError(Exception):
    pass


@dataclass(eq=False)
class Call:
    """A call of an actor: what Ray gives for it."""

    actor: int
    part: int | None


class FakeRay(SimpleNamespace):
    """Ray, as far as a pool uses it. `deaths`: how many calls of a part end with the actor."""

    def __init__(self, deaths: dict[int | None, int], bad_part: int | None = None) -> None:
        super().__init__(exceptions=SimpleNamespace(RayError=RayError))
        self.deaths, self.bad_part = deaths, bad_part
        self.num_actors = 0
        self.done: list[int] = []

    def remote(self, **_: Any) -> Any:
        def actor_class(_: type) -> Any:
            return SimpleNamespace(remote=self._actor)

        return actor_class

    def _actor(self, *_: str) -> Any:
        self.num_actors += 1
        number = self.num_actors
        return SimpleNamespace(
            load=SimpleNamespace(remote=lambda: Call(number, None)),
            compute=SimpleNamespace(remote=lambda part: Call(number, part)),
        )

    def wait(self, calls: list[Call], timeout: float) -> tuple[list[Call], list[Call]]:
        assert calls, "nobody works, and the pool waits"
        return calls[-1:], calls[:-1]

    def get(self, call: Call) -> dict[str, Any]:
        if self.deaths.get(call.part, 0):
            self.deaths[call.part] -= 1
            raise RayError("the actor died\nof this")
        if call.part is not None and call.part == self.bad_part:
            return {"error": {"cause": "row 3 is bad", "cure": "repair it", "exit_code": 2}}
        if call.part is not None:
            self.done.append(call.part)
        return {}


def run(
    monkeypatch: pytest.MonkeyPatch, ray: FakeRay, num_workers: int = 2, is_stopped: bool = False
) -> FakeRay:
    monkeypatch.setitem(sys.modules, "ray", ray)
    Pool("/folder", "0" * 64, (), lambda: is_stopped).run(range(6), num_workers)
    return ray


@pytest.mark.parametrize("num_workers", [1, 2, 9])
def test_each_part_is_computed_once(monkeypatch: pytest.MonkeyPatch, num_workers: int) -> None:
    ray = run(monkeypatch, FakeRay({}), num_workers)
    assert sorted(ray.done) == list(range(6))
    assert ray.num_actors == min(num_workers, 6)


@pytest.mark.parametrize("num_workers", [1, 2, 9])
def test_a_lost_actor_is_replaced_and_its_part_computed(
    monkeypatch: pytest.MonkeyPatch, num_workers: int
) -> None:
    ray = run(monkeypatch, FakeRay({None: 1, 0: 2, 5: 1}), num_workers)
    assert sorted(ray.done) == list(range(6))
    assert ray.num_actors == min(num_workers, 6) + 4


def test_actors_that_are_always_lost_end_the_work(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(WorkerFailedError, match="lost 6 times in a row: of this"):
        run(monkeypatch, FakeRay({0: 1000}), 1)


def test_what_any_actor_would_meet_is_not_tried_again(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(JobError, match="row 3 is bad") as caught:
        run(monkeypatch, FakeRay({}, bad_part=4))
    assert caught.value.exit_code == 2


def test_a_stop_ends_the_work(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(JobError, match="asked to stop"):
        run(monkeypatch, FakeRay({}), is_stopped=True)
