/** The configuration and the initial weights of a reference case, checked against each other before anything runs. */
import { TensorloomError, type StoredTensor } from '@tensorloom/core';
import { parameterShapes, parseBloomConfig, type BloomConfig } from '@tensorloom/models';
import { badCase } from './case-error.ts';
import type { JsonConfig } from './case-schema.ts';
import type { TensorFile } from './tensor-file.ts';

/** The padding id of the format, for cases whose configuration does not name one (`null` says there is none). */
export const DEFAULT_PAD_ID = 3;

/**
 * Reads `config`. Reference values are made without dropout, so it is off; the number of labels is that of the head.
 * @throws TensorloomError `BAD_FILE` naming the file and the key
 */
export function readCaseConfig(jsonFile: string, json: JsonConfig, tensors: TensorFile): BloomConfig {
  const head = 'weights/score.weight';
  const labels = tensors.has(head) ? tensors.shape(head)[0] : undefined;
  const pad = json['vocab_size'] !== undefined && Number(json['vocab_size']) <= DEFAULT_PAD_ID ? null : DEFAULT_PAD_ID;
  try {
    const named = json['id2label'] !== undefined || labels === undefined ? {} : { num_labels: labels };
    return parseBloomConfig(
      { pad_token_id: pad, ...named, ...json, hidden_dropout: 0, attention_dropout: 0 },
      `${jsonFile}: config`,
    );
  } catch (error) {
    if (!(error instanceof TensorloomError)) throw error;
    // Its message starts with the file and goes over several lines.
    const problem = error.message.replace(`${jsonFile}: config`, '').replace(/^[:\s]*(is )?/, '');
    throw badCase(jsonFile, 'config', problem.replace(/\s*\n\s*/g, ' '), error);
  }
}

/**
 * All parameters that the configuration asks for, by their full names, and no others.
 * @throws TensorloomError `BAD_FILE` naming the file and each tensor that is missing, unknown or of another shape
 */
export function readWeights(jsonFile: string, config: BloomConfig, tensors: TensorFile): Map<string, StoredTensor> {
  const weights = tensors.parameterGroup('weights');
  if (weights.size === 0)
    throw badCase(tensors.path, 'weights/', 'no tensor with this prefix: a case needs the initial weights');
  const head = weights.has('score.weight') ? 'sequence-classification' : 'causal-lm';
  const expected = new Map(parameterShapes(config, head));
  const problems: string[] = [];
  for (const [name, shape] of expected) {
    const found = weights.get(name)?.shape;
    if (found === undefined) problems.push(`weights/${name}: missing`);
    else if (found.join() !== shape.join())
      problems.push(`weights/${name}: expected [${shape.join(', ')}], found [${found.join(', ')}]`);
  }
  for (const name of weights.keys())
    if (!expected.has(name)) problems.push(`weights/${name}: not part of the model that ${jsonFile} describes`);
  if (problems.length > 0) throw new TensorloomError('BAD_FILE', `${tensors.path}: ${problems.join('; ')}`);
  return weights;
}
