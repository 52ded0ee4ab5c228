/** Writes kernels.ts: `node make-kernels.mjs`. The loops differ in one instruction each, so they are generated. */
import { writeFileSync } from 'node:fs';
import wabtInit from 'wabt';

const instructions = {
  float32: { lanes: 'f32x4', sum: 'add', product: 'mul', max: 'max', min: 'min' },
  float64: { lanes: 'f64x2', sum: 'add', product: 'mul', max: 'max', min: 'min' },
  int32: { lanes: 'i32x4', sum: 'add', product: 'mul', max: 'max_s', min: 'min_s' },
};

/** Four vectors per turn: `bytes` is a multiple of 64. */
function kernel(name, instruction) {
  const step = (offset) => `
        (v128.store offset=${offset} (local.get $target)
          (${instruction} (v128.load offset=${offset} (local.get $target)) (v128.load offset=${offset} (local.get $source))))`;
  return `
  (func (export "${name}") (param $target i32) (param $source i32) (param $bytes i32)
    (local $end i32)
    (local.set $end (i32.add (local.get $target) (local.get $bytes)))
    (block $done
      (loop $next
        (br_if $done (i32.ge_u (local.get $target) (local.get $end)))${[0, 16, 32, 48].map(step).join('')}
        (local.set $target (i32.add (local.get $target) (i32.const 64)))
        (local.set $source (i32.add (local.get $source) (i32.const 64)))
        (br $next))))`;
}

const kernels = Object.entries(instructions).flatMap(([type, { lanes, ...ops }]) =>
  Object.entries(ops).map(([op, instruction]) => kernel(`${type}_${op}`, `${lanes}.${instruction}`)),
);
/** The module's source. @param {boolean} isShared whether its memory is one that threads share, of at most 4 GiB */
const sourceOf = (isShared) => `;; Made by make-kernels.mjs.
(module
  (import "env" "memory" (memory 1${isShared ? ' 65536 shared' : ''}))${kernels.join('')})
`;

/** The module, assembled. @param {boolean} isShared */
export async function assemble(isShared) {
  const wabt = await wabtInit();
  const features = { simd: true, threads: isShared };
  return Buffer.from(wabt.parseWat('kernels.wat', sourceOf(isShared), features).toBinary({}).buffer);
}

if (import.meta.url === `file://${process.argv[1]}`) {
  const constant = async (name, isShared) => {
    const base64 = (await assemble(isShared)).toString('base64');
    const lines = base64.match(/.{1,110}/g).map((line) => `  '${line}',`);
    return `export const ${name} = [\n${lines.join('\n')}\n].join('');\n`;
  };
  writeFileSync(
    new URL('kernels.ts', import.meta.url),
    `/** The reduction loops as WebAssembly with SIMD. Made by make-kernels.mjs, which has their source. */
${await constant('kernelsBase64', false)}/** The same, in memory that threads share. */
${await constant('sharedKernelsBase64', true)}`,
  );
}
