"""What a node of a local cluster inherits from the environment of `cluster up`, and what not."""

from pathlib import Path

import pytest

from orchestrator.cluster.node_environment import node_environment

CREDENTIALS = {
    "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AZURE_STORAGE_KEY",
    "DB_PASSWORD", "GITHUB_TOKEN", "GOOGLE_APPLICATION_CREDENTIALS", "HF_TOKEN",
    "npm_config__auth", "PGPASSWORD", "RAY_AUTH_TOKEN", "RAY_JOB_HEADERS", "RNNJOB_HEADERS",
    "SSH_AUTH_SOCK", "WANDB_API_KEY", "my_secret_2",
}  # fmt: skip
HARMLESS = {
    "AWS_REGION", "AWS_ENDPOINT_URL", "CUDA_VISIBLE_DEVICES", "HTTPS_PROXY", "LANG", "MONKEY",
    "RNNJOB_STORAGE", "TOKENIZERS_PARALLELISM", "XAUTHORITY",
}  # fmt: skip


def test_credentials_are_not_handed_to_the_jobs_of_a_cluster(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in CREDENTIALS | HARMLESS:
        monkeypatch.setenv(name, "planted")
    environment = node_environment(tmp_path, tmp_path / "token")
    inherited = {name for name, value in environment.items() if value == "planted"}
    assert inherited == HARMLESS


def test_a_node_belongs_to_its_own_cluster_only(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RAY_AUTH_TOKEN", "of-another-cluster")
    monkeypatch.setenv("RAY_ADDRESS", "http://another:8265")
    monkeypatch.setenv("RAY_health_check_period_ms", "7")
    environment = node_environment(tmp_path, tmp_path / "token")
    assert not {"RAY_AUTH_TOKEN", "RAY_ADDRESS"} & set(environment)
    assert environment["RAY_AUTH_TOKEN_PATH"] == str(tmp_path / "token")
    assert environment["RAY_health_check_period_ms"] == "7"


def test_no_setting_of_the_user_opens_a_node_to_the_network(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER", "1")
    monkeypatch.setenv("RAY_enable_metrics_collection", "1")
    environment = node_environment(tmp_path, tmp_path / "token")
    assert environment["RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"] == "0"
    assert environment["RAY_enable_metrics_collection"] == "0"
