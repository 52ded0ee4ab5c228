/** Which model a checkpoint holds: the models here store their configuration beside their parameters. */
import { TensorloomError, type JsonObject } from '@tensorloom/core';
import { parseBloomConfig, type Architecture, type BloomConfig } from '../bloom/config.ts';

const architectures: readonly Architecture[] = ['BloomForSequenceClassification', 'BloomForCausalLM'];

/** What was stored. */
export interface StoredModel {
  readonly config: BloomConfig;
  readonly architecture: Architecture;
}

/**
 * Reads the configuration out of the values of a state dict; undefined if they are not those of a model of this package.
 * @param source for messages
 * @throws TensorloomError `BAD_FILE`, `UNSUPPORTED` for a configuration that is no longer understood
 */
export function describeStoredModel(values: JsonObject, source: string): StoredModel | undefined {
  const { config } = values;
  if (config === null || typeof config !== 'object' || Array.isArray(config)) return undefined;
  const { architectures: named } = config;
  if (!Array.isArray(named)) return undefined;
  const architecture = architectures.find((known) => named.includes(known));
  if (architecture === undefined)
    throw new TensorloomError(
      'UNSUPPORTED',
      `${source} holds a model of architecture ${JSON.stringify(named)}; known are ${architectures.join(', ')}.`,
    );
  return { config: parseBloomConfig(config, source), architecture };
}
