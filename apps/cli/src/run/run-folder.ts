/** The paths of a run folder. Layout: see README.md. Making and filling it: create-run-folder.ts. */
import { join } from 'node:path';

export class RunFolder {
  constructor(readonly path: string) {}

  get checkpoints(): string {
    return join(this.path, 'checkpoints');
  }

  /** The trained model, in Hugging Face's format, with its tokenizer. */
  get model(): string {
    return join(this.path, 'model');
  }

  get configJson(): string {
    return join(this.path, 'config.json');
  }

  get configYaml(): string {
    return join(this.path, 'config.yaml');
  }

  get summary(): string {
    return join(this.path, 'summary.json');
  }

  /** Which launch of ranks made the folder, where a launcher of ours did: by this they find it again when they are started anew. */
  get job(): string {
    return join(this.path, 'job');
  }

  /** Folder with the tokenizer.json of the run, and what else came with it. */
  get tokenizer(): string {
    return join(this.path, 'tokenizer');
  }
}
