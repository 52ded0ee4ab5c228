export {
  parseBloomConfig,
  problemTypes,
  toHuggingFaceConfig,
  withConfig,
  type Architecture,
  type BloomConfig,
  type ProblemType,
} from './bloom/config.ts';
export { isPreset, preset, presetNames, type Preset } from './bloom/presets.ts';
export { countParameters, parameterShapes, type Head } from './bloom/shapes.ts';
export { alibiSlopes } from './bloom/alibi.ts';
export type { BuildOptions } from './bloom/initialization.ts';
export { ignoreIndex, type BloomInputs, type WithLoss, type WithoutLoss } from './bloom/inputs.ts';
export { BloomTransformer } from './bloom/transformer.ts';
export { BloomForSequenceClassification } from './bloom/sequence-classification.ts';
export { BloomForCausalLM } from './bloom/causal-lm.ts';
export {
  buildModel,
  loadModelFolder,
  readConfig,
  type HeadName,
  type Loaded,
  type LoadFolderOptions,
  type LoadReport,
  type ModelByHead,
} from './hugging-face/load.ts';
export { saveModelFolder, saveModelState, type ModelState, type SaveFolderOptions } from './hugging-face/save.ts';
export { describeStoredModel, type StoredModel } from './hugging-face/stored-model.ts';
export { resolveModel, type ResolvedModel } from './hub/resolve-model.ts';
export { hubSnapshot, type HubOptions, type Snapshot } from './hub/snapshot.ts';
export type { DownloadProgress } from './hub/download.ts';
export { loadPretrained, type LoadedPretrained, type LoadPretrainedOptions } from './load-pretrained.ts';
