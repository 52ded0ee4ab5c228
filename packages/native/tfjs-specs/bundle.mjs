/** Bundles tfjs-core's specs with a backend, since they do not load in plain Node.js. */
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { build } from 'esbuild';

const here = fileURLToPath(new URL('./', import.meta.url));

/** Writes the CommonJS bundle `outfile` with the specs and `backend`, which share one tfjs-core. */
export async function bundleSpecs(backend, outfile) {
  await build({
    entryPoints: [path.join(here, 'entry.mjs')],
    outfile,
    bundle: true,
    platform: 'node',
    format: 'cjs',
    target: 'node20',
    logLevel: 'error',
    // "module" before "main": the specs import the files of tfjs-core's ES modules, and "main" is a bundle, a second tfjs-core.
    mainFields: ['module', 'main'],
    conditions: ['@tensorloom/source'],
    alias: { '#backend': path.join(here, `backend-${backend}.mjs`) },
    // tfjs-core declares its specs free of side effects; they would all be dropped.
    ignoreAnnotations: true,
    external: ['jasmine', 'jasmine-core', 'jasmine-core/*', '*.node', 'node-fetch'],
    // CommonJS has none. src/addon.ts finds the addon by it; nothing else that the specs run uses it.
    define: { 'import.meta.url': JSON.stringify(new URL('../src/addon.ts', import.meta.url).href) },
  });
}
