/** The examples in docs/examples lead to environments that our code recognises. */
import { spawnSync } from 'node:child_process';
import { chmodSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { parseAllDocuments } from 'yaml';
import { resolveLaunch } from '../launcher/launch-options.ts';
import { detectKubernetes } from './kubernetes.ts';
import { detectSlurm } from './slurm.ts';
import type { Variables } from './variables.ts';

const examples = fileURLToPath(new URL('../../../../docs/examples', import.meta.url));
let folder: string;

beforeEach(() => {
  folder = mkdtempSync(path.join(tmpdir(), 'tensorloom-examples-'));
});

afterEach(() => rmSync(folder, { recursive: true }));

describe('slurm.sbatch', () => {
  it('gives srun what the ranks need', () => {
    // Stands in for Slurm: says what it was asked to run, and in which environment.
    const srun = path.join(folder, 'srun');
    writeFileSync(
      srun,
      `#!${process.execPath}\nconsole.log(JSON.stringify({ words: process.argv.slice(2), variables: process.env }));\n`,
    );
    chmodSync(srun, 0o755);
    const job = { PATH: `${folder}:${process.env['PATH'] ?? ''}`, SLURM_JOB_ID: '123456', SLURM_CPUS_PER_TASK: '8' };
    const run = spawnSync('bash', [path.join(examples, 'slurm.sbatch')], { env: job, encoding: 'utf8' });
    expect(run.stderr).toBe('');
    const { words, variables } = JSON.parse(run.stdout) as { words: string[]; variables: Variables };
    expect(words).toEqual(['--kill-on-bad-exit=1', 'tensorloom', 'train', '--strategy=ddp']);
    expect(variables['TENSORLOOM_THREADS']).toBe('8');
    const step = {
      SLURM_NTASKS: '8',
      SLURM_NNODES: '2',
      SLURM_TASKS_PER_NODE: '4(x2)',
      SLURM_JOB_NODELIST: 'n[1-2]',
      SLURM_STEP_ID: '0',
    };
    const environment = detectSlurm({
      ...variables,
      ...step,
      SLURM_PROCID: '5',
      SLURM_NODEID: '1',
      SLURM_LOCALID: '1',
    });
    expect(environment).toMatchObject({ worldSize: 8, mainAddress: 'n1', mainPort: 18456 });
    expect(environment?.token).toMatch(/^[0-9a-f]{64}$/);
  });
});

interface Manifest {
  readonly kind: string;
  readonly metadata: { readonly name: string };
  readonly spec: {
    readonly completions: number;
    readonly parallelism: number;
    readonly completionMode: string;
    readonly clusterIP: string;
    readonly selector: Readonly<Record<string, string>>;
    readonly accessModes: readonly string[];
    readonly template: {
      readonly spec: {
        readonly subdomain: string;
        readonly containers: readonly [Container];
        readonly volumes: readonly Volume[];
      };
    };
  };
}

interface Volume {
  readonly name: string;
  readonly persistentVolumeClaim?: { readonly claimName: string };
}

interface Container {
  readonly command: readonly string[];
  readonly env: readonly { readonly name: string; readonly value: string }[];
  readonly volumeMounts: readonly { readonly name: string; readonly mountPath: string }[];
}

describe('kubernetes-job.yaml', () => {
  const documents = parseAllDocuments(readFileSync(path.join(examples, 'kubernetes-job.yaml'), 'utf8'));
  const objects = documents.map((document) => document.toJS() as Manifest);
  const find = (kind: string): Manifest => objects.find((object) => object.kind === kind) as Manifest;
  const pod = find('Job').spec.template.spec;
  const [container] = pod.containers;
  const variables: Variables = Object.fromEntries(container.env.map(({ name, value }) => [name, value]));
  /** As in pod 1, with the secret where this machine can read it. */
  const inPod = (): Variables => {
    const token = path.join(folder, 'token');
    writeFileSync(token, 'secret\n');
    return { ...variables, JOB_COMPLETION_INDEX: '1', TENSORLOOM_TOKEN_FILE: token };
  };

  it('is valid YAML of a Secret, a headless Service, a claim and an indexed Job that belong together', () => {
    expect(documents.flatMap((document) => document.errors)).toEqual([]);
    expect(objects.map(({ kind }) => kind)).toEqual(['Secret', 'Service', 'PersistentVolumeClaim', 'Job']);
    const { metadata, spec } = find('Job');
    expect(spec).toMatchObject({ completionMode: 'Indexed', parallelism: spec.completions });
    expect(find('Service').spec).toMatchObject({ clusterIP: 'None', selector: { 'job-name': metadata.name } });
    expect(pod.subdomain).toBe(find('Service').metadata.name);
    expect(variables['MASTER_ADDR']).toBe(`${metadata.name}-0.${pod.subdomain}`);
    expect(variables['TENSORLOOM_NODES']).toBe(String(spec.completions));
    expect(container.volumeMounts.map(({ mountPath }) => mountPath)).toContain(
      path.dirname(variables['TENSORLOOM_TOKEN_FILE'] ?? ''),
    );
  });

  it('keeps runs and caches on one volume that all pods mount', () => {
    const claim = find('PersistentVolumeClaim');
    expect(claim.spec.accessModes).toEqual(['ReadWriteMany']);
    const { name } = pod.volumes.find(
      ({ persistentVolumeClaim }) => persistentVolumeClaim?.claimName === claim.metadata.name,
    ) as Volume;
    const { mountPath } = container.volumeMounts.find((mount) => mount.name === name) as { mountPath: string };
    expect(container.command.slice(container.command.indexOf('train'))).toContain(`--output-dir=${mountPath}`);
    for (const cache of ['TENSORLOOM_CACHE', 'HF_HUB_CACHE'])
      expect(path.dirname(variables[cache] ?? '')).toBe(mountPath);
  });

  it('gives the launcher what it needs on several machines', () => {
    expect(container.command).toContain('--num-nodes=$(TENSORLOOM_NODES)');
    const launch = resolveLaunch({
      command: ['train'],
      devices: 2,
      numNodes: Number(variables['TENSORLOOM_NODES']),
      variables: inPod(),
    });
    expect(launch).toMatchObject({
      nodeRank: 1,
      mainAddress: 'tensorloom-0.tensorloom',
      mainPort: 29500,
      token: 'secret',
    });
  });

  it('gives a pod with one rank what it needs', () => {
    expect(detectKubernetes(inPod())).toMatchObject({ globalRank: 1, worldSize: 2, mainPort: 29500, token: 'secret' });
  });

  it('names no variable that nothing reads', () => {
    const caches = ['../../../data/src/files/cache-folder.ts', '../../../models/src/hub/snapshot.ts'];
    const read = ['kubernetes.ts', 'variables.ts', ...caches]
      .map((file) => readFileSync(new URL(file, import.meta.url), 'utf8'))
      .join('\n');
    for (const name of Object.keys(variables)) expect(read).toMatch(new RegExp(`['.$]${name}\\b`));
  });
});
