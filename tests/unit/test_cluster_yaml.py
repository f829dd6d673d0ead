"""cluster.yaml is what Ray's cluster launcher takes."""

from pathlib import Path

import yaml


def test_rays_own_validator_accepts_it() -> None:
    from ray.autoscaler._private.util import prepare_config, validate_config

    content = yaml.safe_load((Path(__file__).parents[2] / "cluster.yaml").read_text())
    validate_config(prepare_config(content))
    worker = content["available_node_types"]["gpu_worker"]
    assert worker["min_workers"] == 0
    assert content["idle_timeout_minutes"] > 0
