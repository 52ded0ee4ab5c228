import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, describe, expect, test, vi } from 'vitest';
import { run } from './program.ts';

const home = process.cwd();
const folder = mkdtempSync(join(tmpdir(), 'tensorloom-cli-'));
process.chdir(folder);
afterEach(() => {
  vi.restoreAllMocks();
});
afterAll(() => {
  process.chdir(home);
  rmSync(folder, { recursive: true });
});

describe('a mistake on the command line is told by name, before anything else, with exit code 2', () => {
  test.each<[string[], RegExp]>([
    [
      ['train', '--acumulate=16'],
      /^error: unknown option '--acumulate=16'\n\(Did you mean '--accumulate'\?\)\n\(add --help/,
    ],
    [
      ['train', '--acumulate', '16'],
      /^error: unknown option '--acumulate'\n\(Did you mean '--accumulate'\?\)\n\(add --help/,
    ],
    [['tran'], /^error: unknown command 'tran'\n\(Did you mean 'train'\?\)\n\(add --help/],
    [['--hlep'], /^error: unknown option '--hlep'\n\(Did you mean '--help'\?\)\n/],
    [['train', '--lr=-1'], /--lr: -1 in the command line is not valid/],
    [['train', '--micro-batch-size', '0'], /--micro-batch-size: 0/],
    [['train', '--schedule=linaer'], /'linaer'[^]*Did you mean 'linear'/],
    [['train', '--preset=blog-acumulate'], /Unknown preset 'blog-acumulate'\. Did you mean 'blog-accumulate'/],
    [['train', 'quickstart'], /too many arguments/],
    [['train', '--data=quickstat'], /Unknown data set 'quickstat'\. Did you mean 'quickstart'/],
    [['train', '--strategy=acumulate'], /Unknown strategy 'acumulate'\. Did you mean 'accumulate'/],
    [['train', '--precision=32-ture'], /Unknown precision '32-ture'\. Did you mean '32-true'/],
    [['train', '--model=bloom-tinny'], /Unknown model[^]*'bloom-tinny'[^]*Did you mean 'bloom-tiny'/],
    [
      ['train', '--devices=2', '--strategy=accumulate'],
      /2 ranks[^]*--strategy=accumulate runs on one device[^]*--strategy=ddp/,
    ],
    [['train', '--devices=2', '--strategy=dpp', '--accelerator=cpu'], /Unknown strategy 'dpp'\. Did you mean 'ddp'/],
    [
      ['train', '--devices=2', '--strategy=ddp', '--accumulate=3', '--micro-batch-size=8'],
      /--accumulate=3 micro-batches[^]*multiple of 2, such as 2 or 4\.[^]*--accumulate=4 --micro-batch-size=6 keeps/,
    ],
    [
      ['train', '--devices=2', '--strategy=ddp', '--num-nodes=2', '--accumulate=8'],
      /--num-nodes=2[^]*tensorloom launch/,
    ],
    [['train', '--strategy=ddp', '--reduce-each-micro-batch'], /is for --strategy=zero2, fsdp, not --strategy=ddp/],
    [['train', '--tls-key=x.pem'], /--tls-certificate, --tls-key and --tls-authority go together/],
    [['train', '--devices=2', '--strategy=ddp', '--process-group=wss'], /Unknown process group 'wss'/],
    [['train', '--compile', '--accelerator=cpu'], /'cpu' has no compiler[^]*--compile/],
    [['train', '--preset=blog-accumulate', '--accelerator=cpu'], /16-mixed/],
    [['train', '--accelerator=cpu', '--precision=16-mixed'], /16-mixed[^]*cpu/],
    [['train', '--config=none.yaml'], /Cannot read the configuration file none\.yaml/],
    [['train', '--resume=none'], /none is not a run folder/],
    [
      ['train', '--devices=2', '--listen-address=::'],
      /--listen-address: for ranks that talk by ws, not by shm[^]*--process-group=ws/,
    ],
    [['train', '--devices=2', '--process-group=mpi'], /--process-group=mpi[^]*mpirun -np 2 tensorloom/],
    [
      ['run', '--devices=2', '--process-group=mpi', import.meta.filename],
      /--process-group=mpi[^]*mpirun -np 2 tensorloom/,
    ],
    [['run', '--strategy=dpp', import.meta.filename], /Unknown strategy 'dpp'\. Did you mean 'ddp'/],
    [['run', '--accelerator=wsm', import.meta.filename], /Unknown accelerator 'wsm'\. Did you mean 'wasm'/],
    [['run', '--precision=32-ture', import.meta.filename], /Unknown precision '32-ture'\. Did you mean '32-true'/],
    [['run', 'none.ts'], /No script at .*none\.ts/],
    [
      ['launch', '--devices=0', '--', 'train'],
      /--devices <n>' argument '0' is invalid\. It is not a whole number of at least 1/,
    ],
    [
      ['launch', '--num-nodes=2', '--', 'train'],
      /--num-nodes is 2; give --node-rank .* --main-address .* --token-file /,
    ],
    [
      ['launch', '--num-nodes=2', '--node-rank=2', '--', 'train'],
      /--node-rank is 2, but --num-nodes is 2; expected 0 to 1/,
    ],
    [['launch', '--', 'trian'], /neither a command 'trian' of tensorloom nor a program[^]*Did you mean 'train'/],
    [['launch', '--', 'tensorloom', 'trian'], /neither a command 'trian'[^]*Did you mean 'train'/],
    [['launch', '--token-file=none', '--', 'train'], /--token-file=none: expected a file/],
    [['evaluate'], /required option '--model/],
    [['predict', '--model=bloom-tiny', 'x'], /bloom-tiny is a preset/],
    [
      ['train', '--preset=blog-compile', '--accelerator=cpu'],
      /'cpu' cannot do precision '16-mixed'[^]*'cpu' has no compiler[^]*--no-compile/,
    ],
    [['train', '--tokenizer=none'], /No tokenizer at none/],
  ])('%j', async (args, message) => {
    let [told, shown] = ['', ''];
    vi.spyOn(process.stderr, 'write').mockImplementation((text) => ((told += String(text)), true));
    vi.spyOn(process.stdout, 'write').mockImplementation((text) => ((shown += String(text)), true));
    const code = await run(args);
    vi.restoreAllMocks();
    expect(told).toMatch(message);
    expect(told).not.toMatch(/\n\s+at /);
    expect(shown).toBe('');
    expect(code).toBe(2);
  });
});
