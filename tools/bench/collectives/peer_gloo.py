"""PyTorch's Gloo: the peer of the collectives bench. One rank; reads RANK, WORLD_SIZE, MASTER_ADDR and MASTER_PORT; prints one JSON line.

    peer_gloo.py BYTES REPEATS SMALL_BYTES SMALL_REPEATS
"""

import json
import sys
import time

import torch
import torch.distributed as dist

large_bytes, repeats, small_bytes, small_repeats = (int(argument) for argument in sys.argv[1:5])
torch.set_num_threads(1)
dist.init_process_group("gloo")
rank, world_size = dist.get_rank(), dist.get_world_size()


def measure(byte_count, times, batch):
    """Best seconds of one all-reduce over `times` measurements of `batch` calls."""
    data = torch.ones(byte_count // 4)
    best = float("inf")
    for _ in range(times):
        dist.barrier()
        started = time.perf_counter()
        for _ in range(batch):
            dist.all_reduce(data)
        best = min(best, (time.perf_counter() - started) / batch)
    data.fill_(1)
    dist.all_reduce(data)
    assert float(data[0]) == world_size and float(data[-1]) == world_size
    return best


large = measure(large_bytes, repeats, 1)
small = measure(small_bytes, small_repeats, 100)
if rank == 0:
    print(json.dumps({"largeSeconds": large, "smallSeconds": small}), flush=True)
dist.destroy_process_group()
