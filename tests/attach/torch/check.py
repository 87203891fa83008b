# Runs the programs beside this file alone and under `steptop attach`, and judges the reports. Usage: check.py STEPTOP [MODE...]
import json
import os
import shutil
import subprocess
import sys
import tempfile

HERE = os.path.dirname(os.path.abspath(__file__))
STEPTOP, CHOSEN = sys.argv[1], sys.argv[2:]
STEPS = 16
failures = []
import torch  # noqa: E402

VERSION = tuple(int(part) for part in torch.__version__.split(".")[:2])  # FLOPs and peaks are known from 2.1 on, what is kept from 2.0


def check(mode, good, what):
    print("%-11s %s %s" % (mode, "ok  " if good else "FAIL", what), flush=True)
    if not good:
        failures.append(mode)


def command(mode):
    program = [os.path.join(HERE, "program.py"), mode, str(STEPS)]
    if mode == "ranks":
        return [sys.executable, "-m", "torch.distributed.run", "--nproc_per_node", "2"] + program
    return [sys.executable] + program


def losses(text):
    return [line for line in text.splitlines() if "0x" in line]


def attach(mode, *options):
    words = ["--"] + command(mode) if mode else []
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "report.json")
        done = subprocess.run([STEPTOP, "attach", "--batch", "--json", path, *options, "-o", os.path.join(folder, "r.yaml"), *words],
                              stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        with open(path) as file:
            return done, json.load(file)["cells"][0]


def of_phase(cell, phase, path):
    # Time of the kernels of a phase in a layer and what is in it.
    layers = {row["id"]: row["path"] for row in cell["layers"]}
    total = 0
    for entry in cell["kernel_layers"]:
        where = layers.get(entry.get("layer"), "")
        if cell["kernels"][entry["kernel"]]["phase"] == phase and (where == path or where.startswith(path + ".")):
            total += entry["total_ns"]
    return total


def share_with_a_name(cell):
    # In a layer, or in a phase that has no layers: the loss and the optimizer.
    named = total = 0
    for entry in cell["kernel_layers"]:
        phase = cell["kernels"][entry["kernel"]]["phase"]
        total += entry["total_ns"]
        named += entry["total_ns"] if entry.get("layer") is not None or phase in ("fwd", "bwd", "loss", "opt", "recompute") else 0
    return named / total


# Layers whose time may not be missing, by phase.
GOLDEN = {
    "plain": ["tokens", "blocks.0.qkv", "blocks.1.out", "blocks.2.up", "blocks.3.down", "blocks.3.norm1", "norm", "head"],
    "llama": ["model.layers.0.self_attn.q_proj", "model.layers.1.mlp.down_proj", "model.layers.1.input_layernorm", "lm_head"],
    "gpt2": ["transformer.h.0.attn.c_attn", "transformer.h.1.mlp.c_proj", "transformer.h.1.ln_1", "lm_head"],
}
# All layers that have time of their own: the graph that this backend calls, and the model; none of what was compiled into it.
COMPILED = {"compile": ["GraphModule", "Model"], "inductor": ["Model"]}
# What inductor (on a processor) makes of the model: products and attention stay operators of their own; all else is fused across the borders of
# layers into kernels in C++ without a name, which are the own time of the compiled function's two calls.
INDUCTOR = {"fwd": ["CompiledFunction", "aten::addmm", "aten::_scaled_dot_product_flash_attention_for_cpu"],
            "bwd": ["CompiledFunctionBackward", "aten::mm", "aten::_scaled_dot_product_flash_attention_for_cpu_backward"]}
TOKENS, PRODUCTS, PAIRS = 4 * 63, 4 * (64 * 192 + 64 * 64 + 2 * 64 * 256) + 64 * 256, 4 * 4 * 4 * 63 * 64 // 2
PLAIN = 3 * 2 * TOKENS * PRODUCTS + 7 * 2 * PAIRS * 16
# A block that is recomputed runs once more, but for its last product, whose result nobody needs; two passes a step are twice as much.
FLOPS = {
    "plain": PLAIN,
    "accumulate": 2 * PLAIN,
    "checkpoint": PLAIN + 2 * TOKENS * (PRODUCTS - 64 * 256 - 4 * 64 * 256) + 4 * PAIRS * 16,
    "conv": 4 * 2 * 2 * 9 * 32 * 32 * (3 * 8) + 4 * 3 * 2 * 9 * 16 * 16 * 8 * 16 + 4 * 3 * 2 * 16 * 10,
}
FLOPS["evaluate"] = FLOPS["plain"]  # an evaluation in the step that is looked at is not the step's
BOUND = {"loader": "data_ns", "sleep": "launch_ns", "ranks": "rank_ns"}
GOLDEN["evaluate"] = GOLDEN["tools"] = GOLDEN["around"] = GOLDEN["manual"] = GOLDEN["plain"]
MODES = ["plain", "conv", "peaks", "evaluate", "tools", "around", "late", "outside", "llama", "gpt2", "compile", "inductor", "manual", "inplace", "accumulate", "autocast", "checkpoint", "profiler", "loader", "sleep", "ranks", "running"]



def running():
    # A program that runs already: attached to, left, attached to again.
    words = [sys.executable, "-u", os.path.join(HERE, "program.py"), "plain", "300"]
    alone = subprocess.run(words, stdout=subprocess.PIPE, text=True)
    target = subprocess.Popen(words, stdout=subprocess.PIPE, text=True)
    first = target.stdout.readline()
    for turn in ("once", "again"):
        done, cell = attach(None, "--steps", "8", "--pid", str(target.pid))
        check("running", done.returncode == 0 and cell["status"] == "ok", turn + ": " + done.stderr.strip()[-100:])
        if cell["status"] != "ok":
            continue
        check("running", cell["passes"]["train_step"]["profiled_steps"] >= 8, turn + ": %d steps" % cell["passes"]["train_step"]["profiled_steps"])
        named = share_with_a_name(cell)
        check("running", named >= 0.98, turn + ": %.2f %% of the time of ops has a layer or a phase" % (100 * named))
        root = cell["layers"][0]["path"]
        layers = [row["path"] for row in cell["layers"]]
        for path in GOLDEN["plain"]:
            there = path if path in layers else root + "." + path
            check("running", all(of_phase(cell, phase, there) > 0 for phase in ("fwd", "bwd")), turn + ": %s has time in both directions" % path)
        if len(cell.get("step_flops", {})):
            check("running", cell["step_flops"]["train_step"] == FLOPS["plain"], turn + ": FLOPs by shapes")
    rest = target.communicate()[0]
    check("running", target.returncode == 0 and first + rest == alone.stdout, "its output and its end, to the last bit")


for mode in CHOSEN or MODES:
    if mode == "running":
        running()
        continue
    if mode == "ranks" and VERSION < (2, 0) and sys.version_info >= (3, 11):
        print("%-11s skipped: torchrun of this PyTorch does not start with this Python" % mode)
        continue
    if mode == "inductor" and not shutil.which("c++"):
        print("%-11s skipped: no compiler for C++" % mode)
        continue
    if mode in ("late", "tools", "around", "compile", "inductor") and VERSION < (2, 0):
        print("%-11s skipped: no torch.compile, no torch.func" % mode)
        continue
    if mode in ("llama", "gpt2"):
        try:
            import transformers  # noqa: F401
        except ImportError:
            print("%-11s skipped: no transformers" % mode)
            continue
    alone = subprocess.run(command(mode), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    done, cell = attach(mode)
    check(mode, done.returncode == alone.returncode == 0, "exit code")
    # Two ranks' lines may come in any order of output, but only rank 0 prints.
    check(mode, losses(alone.stdout) and losses(done.stdout) == losses(alone.stdout), "losses to the last bit")
    step = cell["passes"]["train_step"]
    steps = step["profiled_steps"]
    # The first is nobody's, in the second memory is read.
    left_out = 2 if VERSION >= (2, 1) else 1
    if mode == "manual":  # that there is no optimizer shows at the ninth call of the model; its steps are what they are with one
        left_out = 9
    check(mode, steps == STEPS - left_out, "%d steps of %d" % (steps, STEPS - left_out))
    named = share_with_a_name(cell)
    check(mode, named >= {"conv": 0.94, "outside": 0.3}.get(mode, 0.98), "%.2f %% of the time of ops has a layer or a phase" % (100 * named))
    root = cell["layers"][0]["path"]
    for path in GOLDEN.get(mode, []):
        layers = [row["path"] for row in cell["layers"]]
        there = next((one for one in (path, root + "." + path, "Model." + path) if one in layers), path)
        for phase in ("fwd", "bwd"):
            check(mode, of_phase(cell, phase, there) > 0, "%s has time in %s" % (path, phase))
    if mode in COMPILED:  # one graph; what is inside of it has no borders any more
        for phase in ("fwd", "bwd"):
            check(mode, sum(of_phase(cell, phase, path) for path in COMPILED[mode]) > 0, "the compiled model has time in %s" % phase)
        with_time = sorted({row["path"] for row in cell["layers"] for entry in cell["kernel_layers"] if entry.get("layer") == row["id"] and entry["total_ns"]})
        check(mode, with_time == COMPILED[mode], "layers with time: %s" % ", ".join(with_time))
    if mode == "inductor":
        for phase, names in INDUCTOR.items():
            calls = {kernel["name"]: kernel["calls"] / steps for kernel in cell["kernels"] if kernel["phase"] == phase and kernel["pass"] == "train_step"}
            for name in names:
                check(mode, calls.get(name, 0) > 0, "%s has %s, %.1f times a step" % (phase, name, calls.get(name, 0)))
            check(mode, calls.get(names[0], 0) >= 3, "each stretch of fused kernels in %s is its own" % phase)
    if mode == "manual" and VERSION >= (2, 1):  # before, nobody tells when a backward pass is over
        phases = {k["name"]: sorted({other["phase"] for other in cell["kernels"] if other["name"] == k["name"]}) for k in cell["kernels"]}
        clips = [name for name in phases if "norm" in name and "layer_norm" not in name]
        check(mode, clips and all(phases[name] == ["opt"] for name in clips), "clipping is of the update: %s" % ", ".join(clips))
        updates = sum(k["calls"] for k in cell["kernels"] if k["name"] == "aten::add_" and k["phase"] == "opt") / steps
        check(mode, updates >= 50, "%.1f parameters a step are updated by hand" % updates)
    if mode in FLOPS and VERSION >= (2, 1):
        # By shapes, forward and backward: products of 4 × 63 tokens, and attention's causal half.
        check(mode, cell.get("step_flops", {}).get("train_step") == FLOPS[mode], "%s FLOPs a step of %d" % (cell.get("step_flops", {}).get("train_step"), FLOPS[mode]))
        unknown = [k["name"] for k in cell["kernels"] if k["pass"] == "train_step" and k["name"] in ("aten::mm", "aten::addmm", "aten::mkldnn_convolution") and k["calls"] and not k.get("flops")]
        done = sum(k.get("flops") or 0 for k in cell["kernels"] if k["pass"] == "train_step") / steps
        check(mode, abs(done / FLOPS[mode] - 1) < 1e-6, "%.0f of them on kernels" % done)
        check(mode, not unknown, "each product knows what it does" + "".join(": " + name for name in unknown))
    kept = {row["path"]: row.get("saved_bytes") for row in cell["layers"]}
    if mode in ("plain", "evaluate") and VERSION >= (2, 1):
        # 4 sequences of 63 tokens, 64 wide, in fp32: the input of a product is kept by whoever keeps it first.
        width = 4 * 63 * 64 * 4
        for path, bytes in {"blocks.2.norm1": width + 2 * width // 64, "blocks.2.qkv": width, "blocks.2.up": width, "blocks.2.act": 4 * width, "blocks.2.down": 0}.items():
            check(mode, kept[path] == bytes, "%s keeps %s bytes of %d" % (path, kept[path], bytes))
    if mode == "peaks" and "saved_bytes" in cell["layers"][0]:
        # 4 × 63 tokens of 64 in fp32 each: what a layer takes and gives, and what those before keep; in the layer between two times 4 MiB as well.
        width, most = 4 * 63 * 64 * 4, {row["path"]: row.get("peak_fwd_bytes", 0) for row in cell["layers"]}
        check(mode, most["before"] == 2 * width, "before peaks at %d bytes" % most["before"])
        check(mode, 0 <= most["peaks"] - 2 * width - (8 << 20) <= 64, "peaks peaks at %d bytes" % most["peaks"])
        check(mode, most[root] == most["peaks"], "the model peaks where its layer does")
        check(mode, most["after"] == 3 * width, "after peaks at %d bytes" % most["after"])
        backward = {row["path"]: row.get("peak_bwd_bytes", 0) for row in cell["layers"]}
        check(mode, backward["head"] >= 4 * width and backward[root] >= backward["head"], "backward peaks at %d bytes" % backward["head"])
    if mode == "checkpoint" and VERSION >= (2, 1):
        check(mode, kept["blocks.2.up"] == 0, "a checkpointed block keeps nothing inside")
    if mode == "checkpoint":
        check(mode, of_phase(cell, "recompute", "blocks.2") > 0, "recomputation stands apart")
    idle = step["idle"]
    reasons = {key: value for key, value in idle.items() if key.endswith("_ns") and key not in ("total_ns", "sync_layer_ns")}
    check(mode, idle["unknown_ns"] <= 0.1 * idle["total_ns"], "%.1f %% of idle time has a reason" % (100 - 100 * idle["unknown_ns"] / idle["total_ns"]))
    if mode == "outside":
        beside = [row["path"] for row in cell["layers"] if row.get("parent") is None and row["path"] != root]
        check(mode, not beside, "nothing beside the model" + "".join(": " + path for path in beside))
    if mode in BOUND:
        largest = max(reasons, key=reasons.get)
        check(mode, largest == BOUND[mode], "bound by %s: %.1f of %.1f ms idle" % (largest, reasons[largest] / 1e6, idle["total_ns"] / 1e6))
    if mode == "ranks":
        check(mode, len(cell.get("ranks", [])) == 2, "two ranks")

print("%d failed" % len(failures))
sys.exit(1 if failures else 0)
