"""The peer's side of the bench: BLOOM trained by PyTorch and transformers, one step per batch, driven by JSON lines on standard input.

    peer_bloom.py write-model FOLDER CONFIG_JSON      writes a freshly initialized model as a Hugging Face folder
    peer_bloom.py serve FOLDER BATCHES_JSON THREADS   loads it and answers:
        {"batches": [0, 1]}  ->  {"seconds": 1.23, "losses": [0.69, 0.71]}    seconds for forward, backward and Adam step of those batches
"""
import json
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


def serve(folder: str, batches_file: str, threads: str, fused_adam: bool) -> None:
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
        + f", attention {model.config._attn_implementation}, Adam {'fused' if fused_adam else 'default'}",
        "parameters": sum(parameter.numel() for parameter in model.parameters()),
    })
    for line in sys.stdin:
        losses = []
        started = time.perf_counter()
        for index in json.loads(line)["batches"]:
            loss = model(**batches[index]).loss
            loss.backward()
            optimizer.step()
            optimizer.zero_grad()
            losses.append(loss.item())
        say({"seconds": time.perf_counter() - started, "losses": losses})


if __name__ == "__main__":
    command, *rest = sys.argv[1:]
    if command == "write-model":
        write_model(*rest)
    elif command == "serve":
        serve(*rest[:3], fused_adam="--fused-adam" in rest)
    else:
        raise SystemExit(__doc__)
