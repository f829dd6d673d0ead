"""What MLflow's client raises becomes one line of cause and one of cure, without bodies."""

import pytest

from orchestrator.tracking.mlflow_errors import explained, takes_no_files

mlflow = pytest.importorskip("mlflow.exceptions", reason="needs the extra mlflow")
requests = pytest.importorskip("requests", reason="needs the extra mlflow")
URI = "http://127.0.0.1:5000"


def raised_from(cause: Exception, text: str) -> Exception:
    """Return an error of MLflow's that was raised while another was handled, as its client does."""
    try:
        try:
            raise cause
        except type(cause):
            raise mlflow.MlflowException(text)  # noqa: B904
    except mlflow.MlflowException as error:
        return error


@pytest.mark.parametrize(
    ("cause", "why"),
    [
        (requests.exceptions.ConnectTimeout("x"), "no answer in time"),
        (requests.exceptions.ReadTimeout("x"), "no answer in time"),
        (
            requests.exceptions.ConnectionError("(...: [Errno -2] Name or service not known')"),
            "Name or service not known",
        ),
        (requests.exceptions.ConnectionError("aborted"), "the connection broke"),
        (
            requests.exceptions.SSLError("[SSL: X] certificate verify failed: self-signed (_ssl)"),
            "certificate verify failed: self-signed",
        ),
    ],
)
def test_a_server_that_is_not_reached_is_told_with_the_reason(cause: Exception, why: str) -> None:
    found = explained(URI, raised_from(cause, "API request to ... failed"))
    assert found.cause == f"the tracker {URI} does not answer: {why}" and found.exit_code == 3


@pytest.mark.parametrize("status", [401, 403])
def test_a_refusal_names_the_variables_for_credentials(status: int) -> None:
    text = f"API request to endpoint /x failed with error code {status} != 200. Response body: 'b'"
    found = explained(URI, mlflow.MlflowException(text))
    assert found.cause == f"the tracker {URI} refuses the request ({status})"
    assert "MLFLOW_TRACKING_TOKEN" in found.cure


def test_the_body_of_an_answer_is_not_repeated() -> None:
    text = "API request to endpoint /x failed with error code 404 != 200. Response body: '<html>'"
    found = explained(URI, mlflow.MlflowException(text))
    assert "404" in found.cause and "html" not in found.cause and "\n" not in found.cause


def test_files_for_the_disk_of_the_server_are_not_written_to_this_one() -> None:
    found = takes_no_files(URI, "/srv/mlruns/1")
    assert "/srv/mlruns/1" in found.cause and "--serve-artifacts" in found.cure
