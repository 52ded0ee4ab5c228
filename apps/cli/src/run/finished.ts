/** Tells a run that has nothing left to do from one to go on with. */
import { existsSync, readFileSync } from 'node:fs';
import type { RunConfig } from '../config/schema.ts';
import type { RunFolder } from './run-folder.ts';

/** Whether its summary and model are there, of as many steps or epochs as `config` asks for. */
export function isFinished(folder: RunFolder, config: Pick<RunConfig, 'epochs' | 'maxSteps'>): boolean {
  if (!existsSync(folder.model) || !existsSync(folder.summary)) return false;
  const { steps, epochs } = readCounts(folder.summary);
  return epochs >= config.epochs || (config.maxSteps !== undefined && steps >= config.maxSteps);
}

/** A summary that cannot be read is no proof: the run goes on and writes it anew. */
function readCounts(summary: string): { readonly steps: number; readonly epochs: number } {
  try {
    const content = JSON.parse(readFileSync(summary, 'utf8')) as { steps?: unknown; epochs?: unknown } | null;
    return { steps: Number(content?.steps ?? 0), epochs: Number(content?.epochs ?? 0) };
  } catch {
    return { steps: 0, epochs: 0 };
  }
}
