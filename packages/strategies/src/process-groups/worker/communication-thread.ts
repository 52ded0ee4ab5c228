/** The thread that moves a process's bytes: takes requests from the main thread and carries them out, one at a time, in order. */
import { receiveMessageOnPort, workerData } from 'node:worker_threads';
import { TensorloomError } from '@tensorloom/core/distributed';
import { describeCall, type CollectiveCall } from '../collective-call.ts';
import { adoptMemory } from '../simd/reduce-in-place.ts';
import type { Transport } from '../transport.ts';
import { setLookAround } from '../while-blocked.ts';
import { makeTransport } from './media.ts';
import {
  CONTROL,
  pieceView,
  postedError,
  type FromThread,
  type PostedCall,
  type SharedPiece,
  type ThreadData,
  type ToThread,
  type TracedCall,
} from './protocol.ts';

type Request = Extract<ToThread, { readonly type: 'call' | 'split' | 'close' }>;

const ROOT = '';
const { medium, request, control, trace, port } = workerData as ThreadData;
const words = new Int32Array(control);
const buffers = new Map<number, SharedArrayBuffer>();
const transports = new Map<string, Transport>();
const queue: Request[] = [];
const traced: TracedCall[] = [];
let completed = 0;
let isRunning = false;

process.on('exit', () => {
  Atomics.store(words, CONTROL.ended, 1);
  Atomics.notify(words, CONTROL.completed);
});

function post(message: FromThread): void {
  port.postMessage(message);
}

function take(message: ToThread): void {
  switch (message.type) {
    case 'buffer':
      buffers.set(
        message.id,
        message.memory instanceof SharedArrayBuffer ? message.memory : adoptMemory(message.memory),
      );
      return;
    case 'forget':
      buffers.delete(message.id);
      return;
    case 'abort':
      transports.get(message.group)?.abort(message.reason);
      return;
    case 'trace':
      post({ type: 'trace', calls: traced.splice(0) });
      return;
    default:
      queue.push(message);
  }
}

function takeAll(): void {
  for (let got = receiveMessageOnPort(port); got !== undefined; got = receiveMessageOnPort(port))
    take(got.message as ToThread);
}

function view(call: PostedCall, piece: SharedPiece | null): CollectiveCall['input'] {
  if (piece === null) return null;
  return pieceView(call.elementType, buffers.get(piece.buffer) as SharedArrayBuffer, piece);
}

function transportOf(group: string): Transport {
  const transport = transports.get(group);
  if (transport === undefined) throw new TensorloomError('MISUSE', 'The process group is closed.');
  return transport;
}

function carryOut(next: Request): Promise<void> | void {
  if (next.type === 'split') return split(next);
  if (next.type === 'close') return close(next.group);
  const { call } = next;
  const startMs = trace ? performance.timeOrigin + performance.now() : 0;
  const done = transportOf(next.group).execute({
    ...call,
    input: view(call, call.input),
    output: view(call, call.output),
  });
  if (!trace) return done;
  const told = (): void => {
    traced.push({
      call: describeCall({ ...call, input: null, output: null }),
      startMs,
      endMs: performance.timeOrigin + performance.now(),
    });
  };
  if (done instanceof Promise) return done.then(told);
  told();
}

async function split({ group, ranks, id }: Extract<Request, { readonly type: 'split' }>): Promise<void> {
  const child = await transportOf(group).split(ranks, id);
  if (child !== null) transports.set(id, child);
}

async function close(group: string): Promise<void> {
  const transport = transports.get(group);
  transports.delete(group);
  await transport?.close();
}

/** Works the queue off. Transports that block are called straight, without a turn of the event loop in between. */
async function run(): Promise<void> {
  if (isRunning) return;
  isRunning = true;
  try {
    for (let next = queue.shift(); next !== undefined; next = queue.shift()) {
      try {
        const done = carryOut(next);
        if (done instanceof Promise) await done;
      } catch (error) {
        post({ type: 'error', sequence: completed + 1, error: postedError(error) });
        Atomics.add(words, CONTROL.errors, 1);
      }
      completed++;
      Atomics.store(words, CONTROL.completed, completed | 0);
      Atomics.notify(words, CONTROL.completed);
      if (next.type === 'close' && next.group === ROOT) {
        port.close();
        return;
      }
      takeAll();
    }
  } finally {
    isRunning = false;
  }
}

setLookAround(takeAll);
try {
  const transport = await makeTransport(medium, request);
  transports.set(ROOT, transport);
  port.on('message', (message: ToThread) => {
    take(message);
    void run();
  });
  post({ type: 'ready', name: transport.name });
} catch (error) {
  post({ type: 'refused', error: postedError(error) });
  port.close();
}
