"""Reference values for BLOOM, made with PyTorch and Hugging Face transformers.

Usage: python make_bloom_cases.py OUT_DIR [--cases NAME ...] [--seed 123] [--list]

Writes NAME.json and NAME.safetensors for each case (the format is described in README.md beside this file):
`tensorloom verify --reference=OUT_DIR` compares with them. A new case is one more entry of CASES.
"""

import argparse
import copy
import json
from dataclasses import dataclass, field
from pathlib import Path

import torch
import transformers
from safetensors.torch import save_file
from transformers import BloomConfig, BloomForCausalLM, BloomForSequenceClassification

PAD = 3
ALGORITHMS = {"adam": torch.optim.Adam, "adamw": torch.optim.AdamW, "sgd": torch.optim.SGD}
# Keys of an optimizer section that belong to the run, not to torch.optim.
RUN_KEYS = {"optimizer", "micro_batches_per_step", "max_norm", "max_value", "steps"}

# The runs of every case that does not name its own: tag -> hyper-parameters, and the number of steps.
USUAL_RUNS = {
    "adam": dict(lr=1e-3, betas=[0.9, 0.999], eps=1e-8, steps=3),
    "adamw": dict(lr=1e-3, weight_decay=0.1, steps=3),
    "sgd": dict(lr=1e-2, momentum=0.9, weight_decay=0.01, steps=3),
    "accumulate": dict(optimizer="adam", lr=1e-3, micro_batches_per_step=4, steps=2),
    "clip": dict(optimizer="adam", lr=1e-3, micro_batches_per_step=4, max_norm=0.05, steps=2),
}


@dataclass
class Case:
    """What distinguishes a case. `config` takes Hugging Face's names; `padding` is right, left or none."""

    config: dict
    padding: str = "right"
    batch: int = 3
    seq: int = 19
    micro_batches: int = 8
    runs: dict = field(default_factory=lambda: USUAL_RUNS)
    head: str = "classification"  # or causal-lm
    multi_label: bool = False
    bare_names: bool = False  # weights without `transformer.`, as bigscience/bloom-560m's own file has them
    without: tuple = ()  # groups of tensors that are left out


CASES = {
    # One of each feature.
    "tiny": Case(dict(vocab_size=97, hidden_size=32, n_layer=2, n_head=4, num_labels=2)),
    "six-heads": Case(dict(vocab_size=67, hidden_size=36, n_layer=2, n_head=6, num_labels=2)),
    "left-padding": Case(dict(vocab_size=101, hidden_size=32, n_layer=2, n_head=8, num_labels=3), padding="left"),
    "post-layernorm": Case(dict(vocab_size=89, hidden_size=30, n_layer=1, n_head=5, num_labels=2, apply_residual_connection_post_layernorm=True)),
    "regression": Case(dict(vocab_size=83, hidden_size=32, n_layer=1, n_head=2, num_labels=1), padding="none"),
    # Further shapes, hyper-parameters and combinations, far from those above.
    "deep-twelve-heads": Case(
        dict(vocab_size=53, hidden_size=24, n_layer=3, n_head=12, num_labels=5, layer_norm_epsilon=1e-3),
        batch=2, seq=33, micro_batches=7, padding="left",
        runs={
            "nesterov": dict(optimizer="sgd", lr=5e-3, momentum=0.8, nesterov=True, steps=5),
            "adam": dict(lr=2e-3, betas=[0.8, 0.99], eps=1e-6, weight_decay=0.05, steps=7),
            "window-of-three": dict(optimizer="adamw", lr=5e-4, betas=[0.95, 0.98], weight_decay=0.2, micro_batches_per_step=3, max_norm=0.5, steps=2),
        },
    ),
    "one-token": Case(
        dict(vocab_size=31, hidden_size=12, n_layer=1, n_head=3, num_labels=2), batch=4, seq=1, micro_batches=2, padding="none",
        runs={"sgd": dict(lr=0.1, steps=2), "accumulate": dict(optimizer="sgd", lr=0.1, micro_batches_per_step=2, steps=1)},
    ),
    "no-pad-id": Case(
        dict(vocab_size=41, hidden_size=20, n_layer=2, n_head=1, num_labels=3, pad_token_id=None, apply_residual_connection_post_layernorm=True),
        batch=1, seq=8, micro_batches=3, padding="none", runs={"adamw": dict(lr=1e-3, weight_decay=0.0, eps=1e-7, steps=3)}, bare_names=True,
    ),
    "multi-label": Case(
        dict(vocab_size=61, hidden_size=28, n_layer=2, n_head=7, num_labels=4), batch=5, seq=11, micro_batches=4, multi_label=True,
        runs={"clip-values": dict(optimizer="sgd", lr=1e-2, momentum=0.5, micro_batches_per_step=2, max_value=0.01, steps=2)},
    ),
    "forward-only": Case(
        dict(vocab_size=37, hidden_size=16, n_layer=1, n_head=2, num_labels=2, layer_norm_epsilon=1e-6), batch=2, seq=5, micro_batches=1,
        runs={}, without=("grads", "labels"),
    ),
    "causal-lm": Case(dict(vocab_size=97, hidden_size=32, n_layer=2, n_head=4), head="causal-lm", batch=2, seq=23, micro_batches=1, runs={}),
    "causal-lm-left": Case(
        dict(vocab_size=45, hidden_size=21, n_layer=2, n_head=3, apply_residual_connection_post_layernorm=True), head="causal-lm",
        padding="left", batch=3, seq=14, micro_batches=2, runs={"adam": dict(lr=1e-3, steps=2)}, bare_names=True,
    ),
}


def make_inputs(case: Case, generator: torch.Generator):
    """Ids and mask [micro_batches, batch, seq]; labels as the head wants them. The first row of each batch is full."""
    vocabulary = case.config["vocab_size"]
    shape = (case.micro_batches, case.batch, case.seq)
    ids = torch.randint(4, vocabulary, shape, generator=generator)
    mask = torch.ones_like(ids)
    if case.padding != "none":
        for m in range(case.micro_batches):
            for b in range(1, case.batch):
                length = int(torch.randint(min(3, case.seq), case.seq + 1, (1,), generator=generator))
                gap = slice(length, None) if case.padding == "right" else slice(0, case.seq - length)
                ids[m, b, gap] = PAD
                mask[m, b, gap] = 0
    if case.head == "causal-lm":
        labels = ids.masked_fill(mask == 0, -100)
    elif case.multi_label:
        labels = torch.randint(0, 2, (case.micro_batches, case.batch, case.config["num_labels"]), generator=generator).float()
    elif case.config["num_labels"] == 1:
        labels = torch.randn(shape[:2], generator=generator)
    else:
        labels = torch.randint(0, case.config["num_labels"], shape[:2], generator=generator)
    return ids, mask, labels


def make_model(case: Case, seed: int):
    settings = dict(pad_token_id=PAD, bos_token_id=1, eos_token_id=2) | case.config
    config = BloomConfig(**settings, hidden_dropout=0.0, attention_dropout=0.0, initializer_range=0.15, use_cache=False, attn_implementation="eager")
    torch.manual_seed(seed)
    model = (BloomForCausalLM if case.head == "causal-lm" else BloomForSequenceClassification)(config).eval()
    with torch.no_grad():  # biases and norms away from 0 and 1, so that they are really tested
        for parameter in model.parameters():
            if parameter.dim() == 1:
                parameter.add_(torch.randn(parameter.shape) * 0.1)
    return model, config


def run(model, start, inputs, options: dict, tag: str):
    """One optimizer run from the initial weights; each micro-batch's loss counts 1 / micro_batches_per_step."""
    ids, mask, labels = inputs
    model.load_state_dict(start)
    make = ALGORITHMS[options.get("optimizer", tag)]
    optimizer = make(model.parameters(), **{k: v for k, v in options.items() if k not in RUN_KEYS})
    window = options.get("micro_batches_per_step", 1)
    losses, norms = [], []
    for step in range(options["steps"]):
        optimizer.zero_grad()
        for m in range(step * window, (step + 1) * window):
            loss = model(input_ids=ids[m], attention_mask=mask[m], labels=labels[m]).loss
            (loss / window).backward()
            losses.append(loss.item())
        if "max_norm" in options:
            norms.append(torch.nn.utils.clip_grad_norm_(model.parameters(), options["max_norm"]).item())
        if "max_value" in options:
            torch.nn.utils.clip_grad_value_(model.parameters(), options["max_value"])
        optimizer.step()
    return {n: p.detach().clone() for n, p in model.named_parameters()}, losses, norms


def make_case(name: str, case: Case, out: Path, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed + sum(name.encode()))
    model, config = make_model(case, seed + len(name))
    ids, mask, labels = inputs = make_inputs(case, generator)
    start = copy.deepcopy(model.state_dict())
    groups = {"weights": {k: v.detach().clone() for k, v in start.items() if k != "lm_head.weight"}}
    tensors = {"inputs/input_ids": ids.int(), "inputs/attention_mask": mask.int()}
    tensors["inputs/labels"] = labels if labels.is_floating_point() else labels.int()
    output = model(input_ids=ids[0], attention_mask=mask[0], labels=labels[0])
    tensors["forward/logits"] = output.logits.detach()
    tensors["forward/last_hidden_state"] = model.transformer(input_ids=ids[0], attention_mask=mask[0]).last_hidden_state.detach()
    output.loss.backward()
    groups["grads"] = {n: p.grad.clone() for n, p in model.named_parameters()}
    scalars = {"loss": output.loss.item()}
    for tag, options in case.runs.items():
        groups[tag], scalars[f"{tag}_losses"], norms = run(model, start, inputs, options, tag)
        if norms:
            scalars[f"{tag}_norms"] = norms
    for group, named in groups.items():
        for key, value in named.items():
            tensors[f"{group}/{key.removeprefix('transformer.') if case.bare_names else key}"] = value
    if "labels" in case.without:
        tensors.pop("inputs/labels")
        scalars = {}
    tensors = {k: v.contiguous() for k, v in tensors.items() if k.split("/")[0] not in case.without}
    save_file(tensors, out / f"{name}.safetensors")
    keys = ["vocab_size", "hidden_size", "n_layer", "n_head", "layer_norm_epsilon", "apply_residual_connection_post_layernorm", "pad_token_id"]
    described = {k: getattr(config, k) for k in keys} | ({"num_labels": case.config["num_labels"]} if case.head == "classification" else {})
    optimizers = {tag: {k: v for k, v in options.items() if k != "steps"} for tag, options in case.runs.items()}
    document = dict(
        config=described, padding=case.padding, batch=case.batch, seq=case.seq, micro_batches=case.micro_batches, optimizers=optimizers,
        scalars=scalars, made_with=dict(torch=torch.__version__, transformers=transformers.__version__),
    )
    (out / f"{name}.json").write_text(json.dumps(document, indent=1) + "\n")
    print(f"{name}: loss {output.loss.item():.4f}, {len(tensors)} tensors")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path, nargs="?")
    parser.add_argument("--cases", nargs="+", choices=list(CASES), default=list(CASES), metavar="NAME")
    parser.add_argument("--seed", type=int, default=123)
    parser.add_argument("--list", action="store_true", help="print the names of the cases and stop")
    options = parser.parse_args()
    if options.list or options.out is None:
        print("\n".join(CASES))
        return
    torch.set_num_threads(1)  # sums in one order
    options.out.mkdir(parents=True, exist_ok=True)
    for name in options.cases:
        make_case(name, CASES[name], options.out, options.seed)


if __name__ == "__main__":
    main()
