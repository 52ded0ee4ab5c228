/** Module hooks of `tensorloom run`: a user's TypeScript with `import` and `export` is a module, whatever package.json says or leaves out. */
import { readFileSync } from 'node:fs';
import type { ResolveHook } from 'node:module';
import { fileURLToPath } from 'node:url';

/** Runs after the TypeScript loader, which takes files for CommonJS where no package.json says `"type": "module"`. */
export const resolve: ResolveHook = async (specifier, context, nextResolve) => {
  const resolved = await nextResolve(specifier, context);
  return resolved.format === 'commonjs' && isOwnTypeScript(resolved.url) && isModule(resolved.url)
    ? { ...resolved, format: 'module' }
    : resolved;
};

function isOwnTypeScript(url: string): boolean {
  return url.startsWith('file:') && /\.tsx?(?:\?|$)/.test(url) && !url.includes('/node_modules/');
}

/** Import or export statements, and nothing that only CommonJS has. */
function isModule(url: string): boolean {
  const source = readFileSync(fileURLToPath(url), 'utf8');
  return (
    /^\s*(?:import|export)\b/m.test(source) &&
    !/\b(?:require\s*\(|module\.exports\b|exports\.|__dirname\b|__filename\b)/.test(source)
  );
}
