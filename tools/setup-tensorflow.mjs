/** `npm run setup:tensorflow [-- --gpu]`: makes @tensorflow/tfjs-node work here, from its own site or else with libraries from PyPI. */
import { parseArgs } from 'node:util';
import {
  downloadSiteAnswers,
  findPackage,
  installFromDownloadSite,
  installFromPypi,
  tryPackage,
} from './tensorflow/binding.mjs';
import { cacheFolder } from './tensorflow/libraries.mjs';
import { SetupFailure, say } from './tensorflow/steps.mjs';

const USAGE = `npm run setup:tensorflow -- [--gpu] [--from=auto|site|pypi] [--rebuild]

  --gpu       set up @tensorflow/tfjs-node-gpu (CUDA) in place of @tensorflow/tfjs-node
  --from      site: only TensorFlow.js's own download site; pypi: only the wheel from PyPI (linux-x64; needs
              python3 with pip, g++ and make); auto (default): the site if it answers within 5 s, else PyPI
  --rebuild   do the work again even if the package works already

Libraries are kept outside node_modules, in TENSORLOOM_CACHE_DIR (else ${cacheFolder()}),
so that a second run takes seconds.`;

/** Reads the command line; a mistake ends with the usage. */
function readOptions() {
  let values;
  try {
    ({ values } = parseArgs({
      options: {
        gpu: { type: 'boolean', default: false },
        from: { type: 'string', default: 'auto' },
        rebuild: { type: 'boolean', default: false },
        help: { type: 'boolean', short: 'h', default: false },
      },
    }));
  } catch (error) {
    throw new SetupFailure(`${error.message}\n\n${USAGE}`);
  }
  if (!['auto', 'site', 'pypi'].includes(values.from)) {
    throw new SetupFailure(`--from=${values.from} is none of auto, site, pypi\n\n${USAGE}`);
  }
  return values;
}

async function main() {
  const options = readOptions();
  if (options.help) {
    console.log(USAGE);
    return;
  }
  const found = findPackage(options);
  if (!options.rebuild) {
    const present = tryPackage(found);
    if (present.works) {
      say(`${found.name} ${found.version} works already (TensorFlow ${present.version})`);
      return;
    }
  }
  await install(found, options);
  const result = tryPackage(found);
  if (!result.works) throw new SetupFailure(`${found.name} was set up but does not compute:\n${result.reason}`);
  say(`${found.name} ${found.version} works: TensorFlow ${result.version}, a product and its gradient are right`);
}

/** Tries the sources that the options allow, in order. */
async function install(found, options) {
  const siteAnswers = options.from !== 'pypi' && (await downloadSiteAnswers(found, options));
  if (options.from === 'site' && !siteAnswers) {
    throw new SetupFailure(`${found.binary.host} does not answer from here; try --from=pypi`);
  }
  if (siteAnswers) {
    try {
      installFromDownloadSite(found, options);
      if (tryPackage(found).works || options.from === 'site') return;
      say('what the site gave does not work here; going on with PyPI');
    } catch (error) {
      if (options.from === 'site' || !(error instanceof SetupFailure)) throw error;
      say(`the site answered but the download failed; going on with PyPI\n${error.message}`);
    }
  } else if (options.from === 'auto') {
    say("TensorFlow.js's own download site does not answer from here; using PyPI");
  }
  installFromPypi(found, options);
}

try {
  await main();
} catch (error) {
  if (!(error instanceof SetupFailure)) throw error;
  console.error(`setup:tensorflow: ${error.message}`);
  process.exitCode = 1;
}
