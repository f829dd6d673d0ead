"""The file cluster.yaml, which is for Ray's cluster launcher."""

import re
import shlex

import yaml
from packaging.requirements import Requirement

from orchestrator.cluster.kuberay.client_code import declared
from tests.conftest import ROOT


def test_rays_own_validator_accepts_it() -> None:
    from ray.autoscaler._private.util import prepare_config, validate_config

    content = yaml.safe_load((ROOT / "cluster.yaml").read_text())
    validate_config(prepare_config(content))
    worker = content["available_node_types"]["gpu_worker"]
    assert worker["min_workers"] == 0
    assert content["idle_timeout_minutes"] > 0


def test_the_nodes_get_package_versions_that_rnnjob_accepts() -> None:
    content = yaml.safe_load((ROOT / "cluster.yaml").read_text())
    (install,) = [c for c in content["setup_commands"] if "pip install" in c]
    on_nodes = [Requirement(word) for word in shlex.split(install) if re.search("[=<>]", word)]
    wanted = {r.name: r.specifier for r in map(Requirement, declared()[1])}
    assert {"ray", "torch", "pyarrow", "pydantic"} <= {r.name for r in on_nodes}
    for requirement in on_nodes:
        if exact := [s.version for s in requirement.specifier if s.operator == "=="]:
            assert wanted[requirement.name].contains(exact[0])
        else:
            assert requirement.specifier == wanted[requirement.name]
