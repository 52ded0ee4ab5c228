/** Ranks that our own launcher started. */
import { clusterEnvironments, type ClusterEnvironment } from '@tensorloom/core';
import { readTorchrunVariables } from './torchrun.ts';
import { jobIdOf, VariableReader, type Variables } from './variables.ts';

/** torchrun's variables, with TENSORLOOM_JOB_ID and TENSORLOOM_TOKEN. @throws TensorloomError `BAD_OPTION` */
export function detectTensorloom(variables: Variables): ClusterEnvironment | null {
  const jobId = variables['TENSORLOOM_JOB_ID'];
  // A job id alone may be meant for another environment.
  if (jobId === undefined || (variables['RANK'] ?? variables['LOCAL_RANK']) === undefined) return null;
  const reader = new VariableReader('tensorloom launch', variables);
  if (jobId === '' || jobIdOf(jobId) !== jobId)
    throw reader.bad('TENSORLOOM_JOB_ID', "expected 1 to 64 letters, digits, '.', '_' and '-'");
  return readTorchrunVariables(reader, jobId);
}

clusterEnvironments.register('tensorloom', {
  priority: 100,
  summary: "our launcher's: torchrun's variables, TENSORLOOM_JOB_ID and TENSORLOOM_TOKEN",
  detect: detectTensorloom,
});
