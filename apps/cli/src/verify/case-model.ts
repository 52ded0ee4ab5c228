/** From the data of a case to the product's own pieces: model, optimizer, batches, Fabric. */
import { Adam, AdamW, Fabric, SGD, type Optimizer, type Parameter, type StoredTensor } from '@tensorloom/core';
import { BloomForCausalLM, BloomForSequenceClassification, type BloomConfig } from '@tensorloom/models';
import type { OptimizerRun } from './case-schema.ts';
import type { Algorithm } from './model-case.ts';
import '@tensorloom/strategies';

/** Where the cases run. */
export interface VerifyDevice {
  readonly accelerator: string;
  readonly threads?: number;
}

/** A launched Fabric whose windows hold `accumulate` micro-batches. */
export async function launchFabric(device: VerifyDevice, accumulate: number): Promise<Fabric> {
  const fabric = new Fabric({
    accelerator: device.accelerator,
    strategy: 'accumulate',
    strategyOptions: { accumulate },
    ...(device.threads === undefined ? {} : { threads: device.threads }),
  });
  await fabric.launch();
  return fabric;
}

/** A model with the case's initial weights. */
export function buildModel(
  config: BloomConfig,
  head: 'classification' | 'causal-lm',
  weights: ReadonlyMap<string, StoredTensor>,
): BloomForSequenceClassification | BloomForCausalLM {
  const options = { emptyInit: true };
  const model = head === 'classification' ? new BloomForSequenceClassification(config, options) : new BloomForCausalLM(config, options);
  model.loadStateDict({ tensors: weights, values: {} });
  return model;
}

/** An optimizer with the case's hyper-parameters; those it does not name are PyTorch's defaults. */
export function buildOptimizer(algorithm: Algorithm, options: Omit<OptimizerRun, 'optimizer'>, parameters: readonly Parameter[]): Optimizer {
  const { lr, betas, eps, weight_decay: weightDecay, momentum, nesterov } = options;
  if (algorithm === 'sgd')
    return new SGD(parameters, {
      lr,
      ...(momentum === undefined ? {} : { momentum }),
      ...(nesterov === undefined ? {} : { nesterov }),
      ...(weightDecay === undefined ? {} : { weightDecay }),
    });
  const shared = { lr, ...(betas === undefined ? {} : { betas }), ...(eps === undefined ? {} : { eps }) };
  if (algorithm === 'adam') return new Adam(parameters, { ...shared, ...(weightDecay === undefined ? {} : { weightDecay }) });
  return new AdamW(parameters, { ...shared, weightDecay: weightDecay ?? 0.01 });
}
