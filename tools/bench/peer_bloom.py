"""The peer's side of the bench: BLOOM trained by PyTorch and transformers, one step per batch, driven by JSON lines on standard input.

    peer_bloom.py write-model FOLDER CONFIG_JSON      writes a freshly initialized model as a Hugging Face folder
    peer_bloom.py serve FOLDER BATCHES_JSON THREADS PRECISION   loads it and answers, for a window of micro-batches and one Adam step:
        {"batches": [0, 1]}  ->  {"microBatchSeconds": 1.2, "stepSeconds": 0.4, "losses": [0.69, 0.71], "peakBytes": 1234}
        PRECISION: 32-true, or bf16-mixed by torch.autocast
"""
import contextlib
import json
import resource
import sys
import time

import torch
import transformers
from transformers import BloomConfig, BloomForSequenceClassification


def say(message: dict) -> None:
    print(json.dumps(message), flush=True)


def write_model(folder: str, config: str) -> None:
    torch.manual_seed(123)
    BloomForSequenceClassification(BloomConfig(**json.loads(config))).save_pretrained(folder)


def serve(folder: str, batches_file: str, threads: str, precision: str, fused_adam: bool) -> None:
    torch.set_num_threads(int(threads))
    model = BloomForSequenceClassification.from_pretrained(folder, dtype=torch.float32)
    model.train()
    optimizer = torch.optim.Adam(model.parameters(), lr=5e-5, fused=fused_adam or None)
    with open(batches_file, encoding="utf-8") as file:
        batches = [
            {
                "input_ids": torch.tensor(batch["inputIds"]),
                "attention_mask": torch.ones(len(batch["inputIds"]), len(batch["inputIds"][0]), dtype=torch.long),
                "labels": torch.tensor(batch["labels"]),
            }
            for batch in json.load(file)
        ]
    say({
        "ready": True,
        "what": f"PyTorch {torch.__version__}, transformers {transformers.__version__}, {torch.get_num_threads()} threads"
        + f", {precision}, attention {model.config._attn_implementation}, Adam {'fused' if fused_adam else 'default'}",
        "parameters": sum(parameter.numel() for parameter in model.parameters()),
    })
    def autocast():
        return torch.autocast("cpu", torch.bfloat16) if precision == "bf16-mixed" else contextlib.nullcontext()

    for line in sys.stdin:
        losses = []
        indices = json.loads(line)["batches"]
        started = time.perf_counter()
        for index in indices:
            with autocast():
                loss = model(**batches[index]).loss / len(indices)
            loss.backward()
            losses.append(loss.item() * len(indices))
        walked = time.perf_counter()
        optimizer.step()
        optimizer.zero_grad()
        say({
            "microBatchSeconds": (walked - started) / len(indices),
            "stepSeconds": time.perf_counter() - walked,
            "losses": losses,
            "peakBytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
        })


if __name__ == "__main__":
    command, *rest = sys.argv[1:]
    if command == "write-model":
        write_model(*rest)
    elif command == "serve":
        serve(*rest[:4], fused_adam="--fused-adam" in rest)
    else:
        raise SystemExit(__doc__)
