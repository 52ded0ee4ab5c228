/** From what the user names (preset, folder, hub id) to a model with a head. */
import { preset as presetByName } from './bloom/presets.ts';
import { resolveModel, type ResolvedModel } from './hub/resolve-model.ts';
import type { HubOptions } from './hub/snapshot.ts';
import {
  buildModel,
  loadModelFolder,
  type HeadName,
  type Loaded,
  type LoadFolderOptions,
  type ModelByHead,
} from './hugging-face/load.ts';

/** Options of `loadPretrained`. */
export interface LoadPretrainedOptions<H extends HeadName = HeadName> extends LoadFolderOptions {
  /** Default `sequence-classification`. */
  readonly head?: H;
  readonly hub?: HubOptions;
}

/** The model with an account of where it came from. */
export type LoadedPretrained<H extends HeadName> = Loaded<ModelByHead[H]> & { readonly source: ResolvedModel };

/**
 * A preset has random weights (all its parameters are reported as freshly initialised); folders and hub models are loaded.
 * @param spec see `resolveModel`
 * @throws TensorloomError as `resolveModel` and `loadModelFolder` do
 */
export async function loadPretrained<H extends HeadName = 'sequence-classification'>(
  spec: string | ResolvedModel,
  options: LoadPretrainedOptions<H> = {},
): Promise<LoadedPretrained<H>> {
  const source = typeof spec === 'string' ? await resolveModel(spec, options.hub) : spec;
  const head = options.head ?? ('sequence-classification' as H);
  if (source.kind !== 'preset') return { ...loadModelFolder(source.folder, head, options), source };
  const { config } = presetByName(source.preset.name, options.config);
  const model = buildModel(head, config, options.random === undefined ? {} : { random: options.random });
  const freshlyInitialized = [...model.namedParameters()].map(([name]) => name);
  return { model, config, source, report: { freshlyInitialized, unused: [], storedAs: [] } };
}
