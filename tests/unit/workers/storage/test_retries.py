"""A job survives a remote storage that fails for a while, but not one that fails for good."""

from collections.abc import Callable

import pytest

from workers.errors import StorageError
from workers.storage import retries, s3_new_object
from workers.storage.retries import Retries, may_succeed_later
from workers.storage.storage import Storage

AWS = "When uploading object with key 'a': AWS Error "


class Clock:
    """Time that passes only while somebody sleeps."""

    def __init__(self) -> None:
        self.now = 100.0
        self.slept: list[float] = []

    def monotonic(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now += seconds


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(retries, "time", clock)
    return clock


def failing(times: int, text: str = "HTTP status 503") -> Callable[[], int]:
    """An operation that returns how often it was called, once it succeeds."""
    calls = 0

    def operation() -> int:
        nonlocal calls
        calls += 1
        if calls <= times:
            raise StorageError(f"cannot write x: {AWS}UNKNOWN ({text})")
        return calls

    return operation


def test_it_waits_longer_each_time_and_then_returns(clock: Clock) -> None:
    assert Retries().call(failing(7)) == 8
    assert clock.slept == [0.5, 1, 2, 4, 8, 8, 8]


def test_it_gives_up_after_a_limited_time(clock: Clock) -> None:
    with pytest.raises(StorageError, match="503"):
        Retries().call(failing(1000))
    assert retries.MAX_FAILING_S <= sum(clock.slept) < retries.MAX_FAILING_S + 9


def test_after_one_user_gave_up_the_others_try_just_once_until_one_succeeds(clock: Clock) -> None:
    shared = Retries()
    for _ in range(2):
        with pytest.raises(StorageError):
            shared.call(failing(1000))
    assert sum(clock.slept) < retries.MAX_FAILING_S + 9
    assert shared.call(failing(0)) == 1
    assert shared.call(failing(3)) == 4


def test_a_refusal_is_raised_at_once(clock: Clock) -> None:
    botocore = "An error occurred (AccessDenied) when calling the PutObject operation"
    for text in ("HTTP status 400", "ACCESS_DENIED", "NO_SUCH_BUCKET", botocore):
        with pytest.raises(StorageError):
            Retries().call(failing(1, text))
    assert clock.slept == []


@pytest.mark.parametrize(
    ("text", "passes"),
    [
        ("UNKNOWN (HTTP status 500) during PutObject", True),
        ("UNKNOWN (HTTP status 429) during PutObject", True),
        ("SLOW_DOWN during PutObject", True),
        ("NETWORK_CONNECTION during PutObject: curlCode: 52", True),
        ("ACCESS_DENIED during PutObject", False),
        ("SIGNATURE_DOES_NOT_MATCH during PutObject", False),
        ("INVALID_ACCESS_KEY_ID during PutObject", False),
        ("UNKNOWN (HTTP status 403) during HeadObject", False),
    ],
)
def test_the_storage_tells_whether_a_failure_may_pass(text: str, passes: bool) -> None:
    assert may_succeed_later(StorageError(f"cannot write s3://b/a: {AWS}{text}")) is passes


def test_a_local_folder_fails_at_once(
    clock: Clock, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("local")
    (folder / "taken").mkdir()
    with pytest.raises(StorageError, match="Is a directory"):
        Storage(str(folder)).with_retries().write("taken", b"")
    assert clock.slept == []


def test_a_file_that_is_to_be_new_is_tried_again_as_all_others_are(
    clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    answers: list[Exception | bool] = [OSError("Could not connect to the endpoint URL"), True]

    def put_new(*_: object) -> bool:
        answer = answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    monkeypatch.setattr(s3_new_object, "put_new", put_new)
    storage = Storage("s3://bucket/run?region=us-east-1&endpoint_override=127.0.0.1:1")
    with pytest.raises(
        StorageError, match=r"cannot write s3://bucket/run/owners/1\.json: Could not"
    ):
        storage.write_new("owners/1.json", b"mine")
    answers.insert(0, OSError("Could not connect to the endpoint URL"))
    assert storage.with_retries().write_new("owners/1.json", b"mine")
    assert clock.slept == [0.5]
