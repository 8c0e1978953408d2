"""Lets ai-dynamo be imported beside a CPU build of torch: it imports what has kernels for GPUs.

`tools/install_peers.py` puts this into an environment, where a `.pth` file imports it at interpreter start:
so it imports nothing itself until somebody asks for torchvision or for ai-dynamo's SGLang worker. What it
declares to torch by then are names of operators that nobody calls.
"""

import sys

VISION = [f"{name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor" for name in ("nms", "qnms")]
SGLANG = [
    f"{name}(Tensor x) -> Tensor"
    for name in (
        "fused_sigmoid_mul_cpu",
        "fused_qk_gemma_rmsnorm_cpu",
        "fused_qk_gemma_rmsnorm_with_gate_cpu",
        "fused_gdn_gating_cpu",
        "conv3d_embed_cpu",
        "fused_qkvzba_split_reshape_cat_contiguous_cpu",
        "fused_sigmoid_gating_delta_rule_update_cpu",
        "apply_rotary_pos_emb_cpu",
        "flash_attn_varlen_func",
    )
]
SGLANG_TESTS = "sglang_cpu_stand_ins"
"""What the tests of dynamo-sglang have for the same purpose; where it is, it sees to torchvision."""
kept_alive = {}


class Finder:
    """Finds nothing, but sees every import first."""

    def find_spec(self, name, path=None, target=None):  # noqa: ANN001, ANN201
        if name == "torchvision" and SGLANG_TESTS not in sys.modules:
            declare(name, VISION)
        elif name == "dynamo.sglang":
            declare("sgl_kernel", SGLANG)


def declare(library, operators):  # noqa: ANN001, ANN201
    import torch

    if library in kept_alive or torch.version.cuda is not None or comes_with_operators():
        return
    kept_alive[library] = torch.library.Library(library, "FRAGMENT")
    for operator in operators:
        if not hasattr(getattr(torch.ops, library), operator.partition("(")[0]):
            kept_alive[library].define(operator)


def comes_with_operators():  # noqa: ANN201
    """Whether torchvision is PyTorch's own CPU build."""
    from importlib.metadata import version

    return version("torchvision").endswith("+cpu")


sys.meta_path.insert(0, Finder())
