/** The kernel `AdamStep` of tfjs's backend `tensorflow`: TensorFlow's own ResourceApplyAdam, one pass over memory, in place. */
import { tf, type Tensor } from '../tensors.ts';
import { adamCorrections, type AdamStepAttributes } from './adam-step.ts';

interface OperationAttribute {
  readonly name: string;
  readonly type: number;
  readonly value: unknown;
}

/** The parts of tfjs-node's backend that run any operation of TensorFlow by name. */
interface TensorflowBackend {
  readonly binding: Readonly<
    Record<'TF_ATTR_TYPE' | 'TF_ATTR_SHAPE' | 'TF_ATTR_STRING' | 'TF_ATTR_BOOL' | 'TF_FLOAT', number>
  >;
  executeSingleOutput(name: string, attributes: readonly OperationAttribute[], inputs: readonly Tensor[]): Tensor;
  executeMultipleOutputs(
    name: string,
    attributes: readonly OperationAttribute[],
    inputs: readonly Tensor[],
    outputs: number,
  ): Tensor[];
}

function adamStep(
  backend: TensorflowBackend,
  inputs: Readonly<Record<'value' | 'gradient' | 'expAvg' | 'expAvgSq', Tensor>>,
  attributes: AdamStepAttributes,
): Tensor[] {
  const { binding } = backend;
  const type = (name: string): OperationAttribute => ({ name, type: binding.TF_ATTR_TYPE, value: binding.TF_FLOAT });
  const flag = (name: string, value: boolean): OperationAttribute => ({ name, type: binding.TF_ATTR_BOOL, value });
  const text = (name: string, value: string): OperationAttribute => ({ name, type: binding.TF_ATTR_STRING, value });

  const { lr, beta1, beta2, epsilon, weightDecay, decoupled, gradientScale } = attributes;
  const { stepSize, rootCorrection } = adamCorrections({
    ...attributes,
    // TensorFlow computes 1 - β in float32, which for β2 = 0.999 is off by 5e-5; the correction must be of the same β.
    beta1: 1 - Math.fround(1 - Math.fround(beta1)),
    beta2: 1 - Math.fround(1 - Math.fround(beta2)),
  });
  const temporaries: Tensor[] = [];
  const temporary = (tensor: Tensor): Tensor => {
    temporaries.push(tensor);
    return tensor;
  };
  const decays = weightDecay !== 0;
  const scaled = gradientScale === 1 ? inputs.gradient : temporary(tf.mul(inputs.gradient, gradientScale));
  const gradient = decays && !decoupled ? temporary(addScaled(scaled, inputs.value, weightDecay)) : scaled;
  const value = decays && decoupled ? temporary(tf.mul(inputs.value, 1 - lr * weightDecay)) : inputs.value;

  const handles = [value, inputs.expAvg, inputs.expAvgSq].map((tensor, i) => {
    const shape = { name: 'shape', type: binding.TF_ATTR_SHAPE, value: tensor.shape };
    // The same few names each time: TensorFlow caches an operation for each name for ever.
    const named = [text('shared_name', `tensorloom-adam-${i}`), text('container', '')];
    const handle = backend.executeSingleOutput('VarHandleOp', [type('dtype'), shape, ...named], []);
    backend.executeMultipleOutputs('AssignVariableOp', [type('dtype')], [handle, tensor], 0);
    return handle;
  });
  try {
    // The variables share the tensors' memory, and TensorFlow changes it in place only if nothing else does.
    tf.dispose([value, inputs.value, inputs.expAvg, inputs.expAvgSq]);
    // Powers of β of zero switch TensorFlow's bias correction off: its float32 is too coarse for the first steps.
    const scalars = [0, 0, stepSize * rootCorrection, beta1, beta2, epsilon * rootCorrection].map((number) =>
      temporary(tf.scalar(number, 'float32')),
    );
    backend.executeMultipleOutputs(
      'ResourceApplyAdam',
      [type('T'), flag('use_locking', false), flag('use_nesterov', false)],
      [...handles, ...scalars, gradient],
      0,
    );
    return handles.map((handle) => backend.executeSingleOutput('ReadVariableOp', [type('dtype')], [handle]));
  } finally {
    for (const handle of handles)
      backend.executeMultipleOutputs('DestroyResourceOp', [flag('ignore_lookup_error', true)], [handle], 0);
    tf.dispose([handles, temporaries]);
  }
}

function addScaled(x: Tensor, y: Tensor, factor: number): Tensor {
  return tf.tidy(() => tf.add(x, tf.mul(y, factor)));
}

/** Registers the kernel; the backend itself need not be there. */
export function registerTensorflowAdamStep(): void {
  tf.registerKernel({
    kernelName: 'AdamStep',
    backendName: 'tensorflow',
    kernelFunc: ({ inputs, backend, attrs }) =>
      adamStep(
        backend as TensorflowBackend,
        inputs as unknown as Parameters<typeof adamStep>[1],
        attrs as unknown as AdamStepAttributes,
      ),
  });
}
