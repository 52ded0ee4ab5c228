import { beforeAll, describe, expect, it } from 'vitest';
import '../accelerators/cpu.ts';
import { accelerators } from '../accelerators/accelerator.ts';
import { accumulateGradient } from '../autograd/accumulate.ts';
import { accumulatingOp } from '../autograd/accumulating-op.ts';
import { useBackend } from '../autograd/backends.testing.ts';
import { TensorloomError } from '../errors.ts';
import {
  plainExecution,
  type BlockParameters,
  type BlockProgram,
  type CompiledBlock,
  type TransformerBlock,
} from '../modules/block-program.ts';
import { Module } from '../modules/module.ts';
import { Parameter } from '../modules/parameter.ts';
import { tf, type Scalar, type Tensor } from '../tensors.ts';
import { Fabric } from './fabric.ts';
import { setUpBlocks } from './set-up-blocks.ts';

/** A block that only scales; the compiler below knows no better. */
class Scaling extends Module implements TransformerBlock {
  readonly scale = new Parameter(tf.tensor1d([2, 3]));
  readonly blockExecution = plainExecution();
  readonly blockProgram: BlockProgram;

  constructor(heads = 1) {
    super();
    this.blockProgram = {
      parameters: { inputNormWeight: this.scale } as Partial<BlockParameters> as BlockParameters,
      slopes: new Float32Array(heads),
      layerNormEpsilon: 0,
      residualAfterNorm: false,
      attentionDropout: 0,
      hiddenDropout: 0,
    };
  }

  override forward(x: Tensor): Tensor {
    const { compiled, recompute } = this.blockExecution;
    if (compiled !== null) return compiled.forward(x, x, { training: this.training, recompute });
    return tf.mul(x, this.scale.value);
  }
}

class Other extends Module {
  readonly shift = new Parameter(tf.tensor1d([1, 1]));

  override forward(x: Tensor): Tensor {
    return tf.add(x, this.shift.value);
  }
}

class Stack extends Module {
  readonly h: readonly (Scaling | Other)[];

  constructor(...blocks: (Scaling | Other)[]) {
    super();
    this.h = blocks;
  }

  override forward(x: Tensor): Tensor {
    return this.h.reduce((state, block) => block.forward(state), x);
  }
}

/** `cpu` with a compiler for blocks of one head, which counts its calls. */
class CompilingAccelerator {
  readonly calls: string[] = [];

  compileBlock = ({ parameters: { inputNormWeight: scale }, slopes }: BlockProgram): CompiledBlock => {
    if (slopes.length !== 1) throw new TensorloomError('UNSUPPORTED', 'more than one head');
    return {
      forward: (x, _mask, { recompute }) =>
        accumulatingOp({
          inputs: { x },
          parameters: [scale],
          forward: (save) => {
            save([x]);
            this.calls.push(recompute ? 'forward, to be recomputed' : 'forward');
            return tf.mul(x, scale.value);
          },
          backward: (dy, [saved]) => {
            this.calls.push('backward');
            accumulateGradient(scale, tf.sum(tf.mul(dy, saved as Tensor), 0));
            return { x: tf.mul(dy, scale.value) };
          },
        }),
    };
  };
}

function compiling(): ReturnType<typeof createCpu> & CompilingAccelerator {
  const cpu = createCpu();
  const compiler = new CompilingAccelerator();
  return Object.assign(cpu, { calls: compiler.calls, compileBlock: compiler.compileBlock });
}
const createCpu = () => accelerators.get('cpu').create();

const input = (): Tensor => tf.tensor2d([1, 2, 3, 4], [2, 2]);
const lossOf = (model: Stack): Scalar => tf.tidy(() => model.forward(input()).sum() as Scalar);

describe('how blocks run', () => {
  beforeAll(() => useBackend('cpu'));

  it('compiles the blocks that it can, and reports the others with the reason', async () => {
    const accelerator = compiling();
    const fabric = new Fabric({ accelerator, compile: true });
    await fabric.launch();
    const module = new Stack(new Scaling(), new Other(), new Scaling(2), new Scaling());
    const model = await fabric.setupModule(module);
    expect(fabric.blockReport(model)).toEqual({
      blocks: 4,
      compiled: 2,
      recomputed: 0,
      plain: [
        { name: 'h.1', reason: 'Other says nothing of what it computes (TransformerBlock)' },
        { name: 'h.2', reason: 'more than one head' },
      ],
    });
    await fabric.backward(model, () => lossOf(model));
    expect(accelerator.calls).toEqual(['forward', 'forward', 'backward', 'backward']);
    const plain = new Stack(new Scaling(), new Other(), new Scaling(2), new Scaling());
    const reference = await new Fabric({ accelerator: 'cpu' }).launch(async (other) => {
      const set = await other.setupModule(plain);
      await other.backward(set, () => lossOf(set));
      return plain.parameters().map(({ grad }) => [...(grad as Tensor).dataSync()]);
    });
    expect(module.parameters().map(({ grad }) => [...(grad as Tensor).dataSync()])).toEqual(reference);
    module.dispose();
    plain.dispose();
    await fabric.close();
  });

  it('tells blocks to be recomputed, compiled or not', async () => {
    const accelerator = compiling();
    const fabric = new Fabric({ accelerator, compile: true, activationCheckpointing: true });
    await fabric.launch();
    const module = new Stack(new Scaling(), new Scaling(2));
    const model = await fabric.setupModule(module);
    expect(fabric.blockReport(model)).toMatchObject({ compiled: 1, recomputed: 2 });
    expect(module.h.map((block) => (block as Scaling).blockExecution.recompute)).toEqual([true, true]);
    model.forward(input()).dispose();
    expect(accelerator.calls).toEqual(['forward, to be recomputed']);
    module.dispose();
    await fabric.close();
  });

  it('asks for nothing by default, and undoes what another Fabric had asked for', () => {
    const module = new Stack(new Scaling(), new Other());
    const accelerator = compiling();
    expect(setUpBlocks(module, accelerator, { compile: true, activationCheckpointing: true }).plain).toHaveLength(1);
    expect(setUpBlocks(module, accelerator, { compile: false, activationCheckpointing: false })).toEqual({
      blocks: 2,
      compiled: 0,
      recomputed: 0,
      plain: [],
    });
    expect((module.h[0] as Scaling).blockExecution).toEqual({ compiled: null, recompute: false });
    module.dispose();
  });

  it('is refused at launch where the accelerator has no compiler', async () => {
    await expect(new Fabric({ accelerator: 'cpu', compile: true }).launch()).rejects.toThrow(
      /Accelerator 'cpu' has no compiler[^]*Leave out the option compile\./,
    );
    expect(() => new Fabric({ compile: 'yes' as never })).toThrow(/option 'compile': expected true or false/);
  });
});
