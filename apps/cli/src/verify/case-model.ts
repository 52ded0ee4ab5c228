/** From the data of a case to the product's own pieces: model, optimizer, batches, Fabric. */
import {
  Adam,
  AdamW,
  Fabric,
  SGD,
  tf,
  toDevice,
  type FabricModule,
  type Module,
  type Optimizer,
  type Parameter,
  type Scalar,
  type StoredTensor,
  type Tensor,
} from '@tensorloom/core';
import {
  BloomForCausalLM,
  BloomForSequenceClassification,
  type BloomConfig,
  type BloomInputs,
} from '@tensorloom/models';
import type { CaseBatch } from './case-batches.ts';
import type { OptimizerRun } from './case-schema.ts';
import type { Algorithm } from './model-case.ts';
import '@tensorloom/native';
import '@tensorloom/strategies';

/** The precision of references. */
export const FLOAT32 = '32-true';

/** Where and how the cases run. */
export interface VerifyDevice {
  readonly accelerator: string;
  readonly threads?: number;
  /** Default `32-true`. */
  readonly precision?: string;
  readonly compile?: boolean;
  readonly activationCheckpointing?: boolean;
}

/** A launched Fabric whose windows hold `accumulate` micro-batches. */
export async function launchFabric(device: VerifyDevice, accumulate: number): Promise<Fabric> {
  const fabric = new Fabric({
    accelerator: device.accelerator,
    strategy: 'accumulate',
    strategyOptions: { accumulate },
    ...(device.threads === undefined ? {} : { threads: device.threads }),
    ...(device.precision === undefined ? {} : { precision: device.precision }),
    compile: device.compile ?? false,
    activationCheckpointing: device.activationCheckpointing ?? false,
  });
  await fabric.launch();
  return fabric;
}

/** What both models have in common. */
export interface CaseModel extends Module {
  readonly transformer: BloomForCausalLM['transformer'];
  forward(inputs: BloomInputs): { readonly logits: Tensor; readonly loss?: Scalar; readonly items?: number };
}

/** A model with the case's initial weights. */
export function buildModel(
  config: BloomConfig,
  head: 'classification' | 'causal-lm',
  weights: ReadonlyMap<string, StoredTensor>,
): CaseModel {
  const options = { emptyInit: true };
  const model =
    head === 'classification'
      ? new BloomForSequenceClassification(config, options)
      : new BloomForCausalLM(config, options);
  model.loadStateDict({ tensors: weights, values: {} });
  return model;
}

/**
 * Forward and backward of one micro-batch with labels; gives its mean loss. The format divides each loss by the number of
 * micro-batches in the window, whatever a micro-batch counts (tokens, rows): each is one item of the window.
 */
export async function runMicroBatch(fabric: Fabric, model: FabricModule<CaseModel>, batch: CaseBatch): Promise<number> {
  const { inputIds, attentionMask, labels } = batch;
  const inputs: BloomInputs = toDevice({ inputIds, attentionMask, ...(labels === undefined ? {} : { labels }) });
  const { loss } = await fabric.backward(model, () => withLoss(model.forward(inputs)), { items: 1 });
  tf.dispose(Object.values(inputs));
  return loss;
}

function withLoss({ loss }: ReturnType<CaseModel['forward']>): { loss: Scalar } {
  if (loss === undefined) throw new TypeError('The model gave no loss for inputs with labels.');
  return { loss };
}

/** An optimizer with the case's hyper-parameters; those it does not name are PyTorch's defaults. */
export function buildOptimizer(
  algorithm: Algorithm,
  options: Omit<OptimizerRun, 'optimizer'>,
  parameters: readonly Parameter[],
): Optimizer {
  const { lr, betas, eps, weight_decay: weightDecay, momentum, dampening, nesterov } = options;
  if (algorithm === 'sgd')
    return new SGD(parameters, {
      lr,
      ...(momentum === undefined ? {} : { momentum }),
      ...(dampening === undefined ? {} : { dampening }),
      ...(nesterov === undefined ? {} : { nesterov }),
      ...(weightDecay === undefined ? {} : { weightDecay }),
    });
  const shared = { lr, ...(betas === undefined ? {} : { betas }), ...(eps === undefined ? {} : { epsilon: eps }) };
  if (algorithm === 'adam')
    return new Adam(parameters, { ...shared, ...(weightDecay === undefined ? {} : { weightDecay }) });
  return new AdamW(parameters, { ...shared, ...(weightDecay === undefined ? {} : { weightDecay }) });
}
