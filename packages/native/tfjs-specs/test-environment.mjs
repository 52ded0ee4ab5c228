/** Under which backend the specs run. Both runs call it by one name, so that full names of specs can be compared. */
import { setTestEnvs } from '@tensorflow/tfjs-core/dist/jasmine_util';

setTestEnvs([{ name: 'backend', backendName: process.env.TFJS_SPECS_BACKEND, isDataSync: true }]);
