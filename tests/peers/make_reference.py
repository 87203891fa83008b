#!/usr/bin/env python3
"""Makes a reference for `steptop verify --reference DIR` from PyTorch, in double precision.

This is a statement of the model of its own, written from the model's description and sharing nothing with the C code. DIR
gets three safetensors files:

  weights.safetensors   the state dict in F32; __metadata__ holds num_heads, the number of AdamW steps and AdamW's values
  inputs.safetensors    tokens and targets, I32 (B, T)
  expected.safetensors  loss, logits, grad.<name>, after.<name> (parameters after the AdamW steps), F64; and
                        bf16_error.<name>, the relative L2 error of PyTorch's own bf16 autocast, F64 (1)
"""
import argparse
import json
import math
import pathlib
import struct

import torch


def save(tensors, path, notes=None):
    """A safetensors file: length of the header, the header in JSON, the bytes. The package is not needed for that."""
    names = {torch.float64: "F64", torch.float32: "F32", torch.int32: "I32"}
    header, data = ({"__metadata__": notes} if notes else {}), b""
    for name, value in tensors.items():
        raw = value.detach().contiguous().numpy().tobytes()
        header[name] = {"dtype": names[value.dtype], "shape": list(value.shape),
                        "data_offsets": [len(data), len(data) + len(raw)]}
        data += raw
    text = json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text + data)


def rope_table(context, head_dim, dtype):
    """cos and sin of t·10000^(−2j/D) as float32 tables, whatever the dtype of the computation."""
    t = torch.arange(context, dtype=torch.float64)[:, None]
    j = torch.arange(head_dim // 2, dtype=torch.float64)[None, :]
    angle = t * 10000.0 ** (-2 * j / head_dim)
    return angle.cos().to(torch.float32).to(dtype), angle.sin().to(torch.float32).to(dtype)


def rotate(x, cos, sin):
    """Turns the pairs (2j, 2j+1) of (B, H, T, D)."""
    even, odd = x[..., 0::2], x[..., 1::2]
    return torch.stack((even * cos - odd * sin, even * sin + odd * cos), dim=-1).flatten(-2)


def rmsnorm(x, weight):
    wide = x if x.dtype == torch.float64 else x.float()
    return (wide * torch.rsqrt(wide.pow(2).mean(-1, keepdim=True) + 1e-5) * weight).to(x.dtype)


def forward(p, tokens, layers, heads):
    batch, context = tokens.shape
    x = p["token_embeddings.weight"][tokens]
    width = x.shape[-1]
    cos, sin = rope_table(context, width // heads, x.dtype)
    future = torch.ones(context, context, dtype=torch.bool).triu(1)
    for i in range(layers):
        name = f"layers.{i}."
        h = rmsnorm(x, p[name + "ln1.weight"])
        q, k, v = (
            (h @ p[name + f"attn.{s}_proj.weight"].T).view(batch, context, heads, -1).transpose(1, 2) for s in "qkv"
        )
        q, k = rotate(q, cos, sin), rotate(k, cos, sin)
        scores = (q @ k.transpose(-1, -2)) / math.sqrt(width // heads)
        weights = scores.masked_fill(future, -math.inf).softmax(-1)
        attended = (weights @ v).transpose(1, 2).reshape(batch, context, width)
        x = x + attended @ p[name + "attn.output_proj.weight"].T
        h = rmsnorm(x, p[name + "ln2.weight"])
        gate = h @ p[name + "ffn.w1.weight"].T
        x = x + (gate * torch.sigmoid(gate) * (h @ p[name + "ffn.w3.weight"].T)) @ p[name + "ffn.w2.weight"].T
    return rmsnorm(x, p["ln_final.weight"]) @ p["lm_head.weight"].T


def loss_of(p, tokens, targets, layers, heads):
    logits = forward(p, tokens, layers, heads)
    wide = logits if logits.dtype == torch.float64 else logits.float()
    return torch.nn.functional.cross_entropy(wide.flatten(0, 1), targets.flatten()), logits


def gradients(p, tokens, targets, layers, heads):
    leaves = {name: value.detach().clone().requires_grad_() for name, value in p.items()}
    loss, logits = loss_of(leaves, tokens, targets, layers, heads)
    loss.backward()
    return loss.detach(), logits.detach(), {name: value.grad for name, value in leaves.items()}


def adamw(p, m, v, grad, step, lr, beta1, beta2, eps, decay):
    for name, value in p.items():
        value -= lr * decay * value
        m[name] = beta1 * m[name] + (1 - beta1) * grad[name]
        v[name] = beta2 * v[name] + (1 - beta2) * grad[name] ** 2
        rate = lr * math.sqrt(1 - beta2**step) / (1 - beta1**step)
        value -= rate * m[name] / (v[name].sqrt() + eps)


def initial(args):
    def normal(*shape, sigma):
        return torch.nn.init.trunc_normal_(torch.empty(shape), 0, sigma, -3 * sigma, 3 * sigma)

    def linear(rows, columns):
        return normal(rows, columns, sigma=math.sqrt(2 / (rows + columns)))

    c, f, vocab = args.d_model, args.d_ff, args.vocab_size
    p = {"token_embeddings.weight": normal(vocab, c, sigma=1)}
    for i in range(args.num_layers):
        for s in ("q", "k", "v", "output"):
            p[f"layers.{i}.attn.{s}_proj.weight"] = linear(c, c)
        for s, shape in (("w1", (f, c)), ("w2", (c, f)), ("w3", (f, c))):
            p[f"layers.{i}.ffn.{s}.weight"] = linear(*shape)
        # Away from 1, so that a norm that forgets its weight is found.
        for s in ("ln1", "ln2"):
            p[f"layers.{i}.{s}.weight"] = 1 + 0.1 * normal(c, sigma=1)
    p["ln_final.weight"] = 1 + 0.1 * normal(c, sigma=1)
    p["lm_head.weight"] = linear(vocab, c)
    return p


def relative(a, b):
    return ((a.double() - b.double()).norm() / b.double().norm()).reshape(1)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("dir", type=pathlib.Path)
    for name, value in (("d-model", 16), ("d-ff", 40), ("num-layers", 2), ("num-heads", 2), ("vocab-size", 13),
                        ("batch-size", 2), ("context-length", 9), ("steps", 3), ("seed", 42)):
        parser.add_argument("--" + name, type=int, default=value)
    args = parser.parse_args()
    torch.manual_seed(args.seed)
    lr, beta1, beta2, eps, decay = 1e-3, 0.9, 0.999, 1e-8, 0.01
    weights = initial(args)
    tokens = torch.randint(args.vocab_size, (args.batch_size, args.context_length))
    targets = torch.randint(args.vocab_size, (args.batch_size, args.context_length))
    shape = (args.num_layers, args.num_heads)

    exact = {name: value.double() for name, value in weights.items()}
    loss, logits, grad = gradients(exact, tokens, targets, *shape)
    expected = {"loss": loss.reshape(1), "logits": logits.contiguous()}
    expected.update({"grad." + name: value.contiguous() for name, value in grad.items()})

    with torch.autocast("cpu", dtype=torch.bfloat16):
        half_loss, half_logits, half_grad = gradients(weights, tokens, targets, *shape)
    expected["bf16_error.loss"] = relative(half_loss, loss)
    expected["bf16_error.logits"] = relative(half_logits, logits)
    expected.update({"bf16_error.grad." + name: relative(half_grad[name], grad[name]) for name in grad})

    p = {name: value.clone() for name, value in exact.items()}
    m = {name: torch.zeros_like(value) for name, value in p.items()}
    v = {name: torch.zeros_like(value) for name, value in p.items()}
    for step in range(1, args.steps + 1):
        _, _, grad = gradients(p, tokens, targets, *shape)
        adamw(p, m, v, grad, step, lr, beta1, beta2, eps, decay)
    expected.update({"after." + name: value.contiguous() for name, value in p.items()})

    args.dir.mkdir(parents=True, exist_ok=True)
    notes = {"format": "steptop/reference/1", "num_heads": str(args.num_heads), "steps": str(args.steps),
             "learning_rate": repr(lr), "beta1": repr(beta1), "beta2": repr(beta2), "epsilon": repr(eps),
             "weight_decay": repr(decay), "made_by": "torch " + torch.__version__}
    save(weights, args.dir / "weights.safetensors", notes)
    save({"tokens": tokens.int(), "targets": targets.int()}, args.dir / "inputs.safetensors")
    save(expected, args.dir / "expected.safetensors")


if __name__ == "__main__":
    main()
