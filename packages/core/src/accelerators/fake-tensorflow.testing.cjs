// Preloaded by tensorflow-package.process.test.ts: packages of TensorFlow.js that are absent, broken or working, as the variable FAKES says.
const Module = require('node:module');
const { join } = require('node:path');

/** Package name → folder that stands for it, or null where it is to be absent. */
const fakes = JSON.parse(process.env.FAKES);
const resolve = Module._resolveFilename;
Module._resolveFilename = function (request, ...rest) {
  for (const [name, folder] of Object.entries(fakes)) {
    if (request !== name && !request.startsWith(`${name}/`)) continue;
    if (folder === null)
      throw Object.assign(new Error(`Cannot find module '${request}'`), { code: 'MODULE_NOT_FOUND' });
    return join(folder, request.slice(name.length + 1) || 'index.js');
  }
  // The fakes lie outside the repository, but share its tfjs.
  return resolve.call(
    this,
    request === '@tensorflow/tfjs' ? join(process.cwd(), '../../node_modules', request) : request,
    ...rest,
  );
};
// A file that says so stands for a native binding that loads; any other goes to the real loader.
const native = Module._extensions['.node'];
Module._extensions['.node'] = (module, filename) => {
  if (require('node:fs').readFileSync(filename, 'latin1') === 'loads') module.exports = { TF_Version: '2.9.1' };
  else native(module, filename);
};
