"""What makes a GPU compute the same bits each time. Importing this module does not import torch.

Sources: PyTorch's notes on reproducibility and on numerical accuracy, and NVIDIA's pages on the
reproducibility of cuBLAS and cuDNN.
"""

import os
import sys
from typing import Any

from workers.errors import ResourcesError

ENVIRONMENT = {
    # cuBLAS and cuDNN's recurrent layers choose other algorithms depending on the workspace that is
    # free at the moment. A small one of a fixed size has no such choice.
    "CUBLAS_WORKSPACE_CONFIG": ":16:8",
    # Without a workspace, cuBLASLt cannot split the inner dimension of a product on Hopper.
    "CUBLASLT_WORKSPACE_SIZE": "1",
    # The streams of a step would otherwise share eight queues with those that cuDNN opens.
    "CUDA_DEVICE_MAX_CONNECTIONS": "32",
}
"""The environment variables of a process that trains on a GPU. CUDA reads them once, when its
context is created in the process."""


def prepare_environment() -> None:
    """Set ENVIRONMENT in this process.

    Raises ResourcesError if CUDA has read other values already.
    """
    torch: Any = sys.modules.get("torch")
    is_late = torch is not None and torch.cuda.is_initialized()
    if is_late and any(os.environ.get(name) != value for name, value in ENVIRONMENT.items()):
        values = " ".join(f"{name}={value}" for name, value in ENVIRONMENT.items())
        raise ResourcesError(
            "this process used CUDA before the job could set what makes it deterministic",
            f"start the job in a new process, or set this before CUDA is used: {values}",
        )
    os.environ.update(ENVIRONMENT)


def enable_determinism() -> None:
    """Make the kernels of this process deterministic, and fp32 really 32 bits.

    This needs ENVIRONMENT to have been set before CUDA was used.
    """
    import torch

    torch.use_deterministic_algorithms(True)
    # Nothing here reads memory that was not written, and filling it took a fifth of a step.
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]
    torch.backends.cudnn.benchmark = False
    # By default, cuDNN computes fp32 in TF32.
    torch.backends.cudnn.allow_tf32 = False
    torch.backends.cuda.matmul.allow_tf32 = False
    torch.backends.cuda.matmul.allow_bf16_reduced_precision_reduction = False
