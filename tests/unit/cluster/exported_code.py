"""Jobs that were exported for KubeRay with the client's code, and changed code."""

import io
import zipfile
from dataclasses import replace
from pathlib import Path
from typing import Any

from orchestrator.cluster.kuberay.client_code import ClientCode, publish
from orchestrator.cluster.kuberay.manifest import Manifest, Target, VolumeClaim, ray_job
from orchestrator.spec.build import build_spec
from workers.storage.storage import Storage


def with_file(code: ClientCode, name: str, content: str) -> ClientCode:
    """Return the same code with one file of the wheel replaced."""
    wheel = io.BytesIO()
    with (
        zipfile.ZipFile(io.BytesIO(code.wheel)) as old,
        zipfile.ZipFile(wheel, "w") as new,
    ):
        assert name in old.namelist()
        for entry in old.namelist():
            new.writestr(entry, content if entry == name else old.read(entry))
    return replace(code, wheel=wheel.getvalue())


def exported(code: ClientCode, storage: str, folder: Path, **flags: Any) -> Manifest:
    """Return the manifest of a job whose code was put into a storage below `folder`."""
    spec = build_spec(flags={"storage": storage, **flags})
    claims = (VolumeClaim("data", str(folder)),)
    manifest = ray_job(spec, "first", Target(ray_version="2.60.0", code=code, claims=claims))
    publish(code, Storage(storage), [folder])
    return manifest
