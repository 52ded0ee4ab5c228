/** Downloads from a server on this machine that misbehaves in the ways servers do. */
import { createHash } from 'node:crypto';
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { mkdir, writeFile } from 'node:fs/promises';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { afterEach, describe, expect, it } from 'vitest';
import { openImdb } from '../sources/imdb/imdb.ts';
import { makeTarGz, temporaryFolders } from '../testing/temporary-folder.testing.ts';
import { downloadFile, type DownloadOptions } from './download.ts';

const folder = temporaryFolders();
const content = Buffer.from(Array.from({ length: 300_000 }, (_, i) => (i * 31 + (i >> 8)) & 255));
const md5 = createHash('md5').update(content).digest('hex');
const servers: Server[] = [];

afterEach(() => {
  for (const server of servers.splice(0)) {
    server.closeAllConnections();
    server.close();
  }
});

async function serve(
  answer: (request: IncomingMessage, response: ServerResponse, call: number) => void,
): Promise<string> {
  let calls = 0;
  const server = createServer((request, response) => answer(request, response, ++calls));
  servers.push(server);
  await new Promise<void>((ready) => server.listen(0, '127.0.0.1', ready));
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}/file`;
}

/** A server that knows ranges. */
function sendRange(request: IncomingMessage, response: ServerResponse, body: Buffer = content): void {
  const start = Number(/bytes=(\d+)-/.exec(request.headers.range ?? '')?.[1] ?? 0);
  if (start >= body.length) return void response.writeHead(416).end();
  const headers = {
    'content-length': body.length - start,
    'content-range': `bytes ${start}-${body.length - 1}/${body.length}`,
  };
  response.writeHead(start > 0 ? 206 : 200, headers).end(body.subarray(start));
}

function cutAfter(response: ServerResponse, bytes: number): void {
  response.writeHead(200, { 'content-length': content.length });
  response.write(content.subarray(0, bytes), () => setTimeout(() => response.destroy(), 20));
}

function options(url: string, more: Partial<DownloadOptions> = {}): DownloadOptions {
  return {
    url,
    path: join(folder(), 'deep', 'file.bin'),
    bytes: content.length,
    md5,
    retryDelayMs: 5,
    advice: 'Use --data-path.',
    ...more,
  };
}

describe('downloadFile', () => {
  it('fetches the file, reports progress, and does not fetch it twice', async () => {
    let calls = 0;
    const url = await serve((request, response, call) => ((calls = call), sendRange(request, response)));
    const progress: [number, number][] = [];
    const given = options(url, { onProgress: (done, total) => progress.push([done, total]) });
    await downloadFile(given);
    await downloadFile(given);
    expect(readFileSync(given.path).equals(content)).toBe(true);
    expect(progress.at(-1)).toEqual([content.length, content.length]);
    expect(calls).toBe(1);
    expect(existsSync(`${given.path}.part`)).toBe(false);
  });

  it('goes on where a cut connection stopped', async () => {
    const ranges: (string | undefined)[] = [];
    const url = await serve((request, response, call) => {
      ranges.push(request.headers.range);
      if (call === 1) cutAfter(response, 100_000);
      else sendRange(request, response);
    });
    const given = options(url);
    await downloadFile(given);
    expect(ranges).toHaveLength(2);
    expect(ranges[1]).toMatch(/^bytes=[1-9]\d*-$/);
    expect(readFileSync(given.path).equals(content)).toBe(true);
  });

  it('goes on with what an earlier run left', async () => {
    let range: string | undefined;
    const url = await serve((request, response) => ((range = request.headers.range), sendRange(request, response)));
    const given = options(url);
    await mkdir(join(given.path, '..'), { recursive: true });
    await writeFile(`${given.path}.part`, content.subarray(0, 123_456));
    await downloadFile(given);
    expect(range).toBe('bytes=123456-');
    expect(readFileSync(given.path).equals(content)).toBe(true);
  });

  it('starts anew with a server that ignores ranges', async () => {
    const url = await serve((_request, response, call) =>
      call === 1 ? cutAfter(response, 100_000) : response.end(content),
    );
    const given = options(url);
    await downloadFile(given);
    expect(readFileSync(given.path).equals(content)).toBe(true);
  });

  it('refuses and deletes a file with another checksum', async () => {
    const other = Buffer.from(content).fill(0, 5, 50);
    const url = await serve((request, response) => sendRange(request, response, other));
    const given = options(url);
    await expect(downloadFile(given)).rejects.toMatchObject({
      code: 'BAD_DATA',
      message: expect.stringMatching(/is not the file expected.*Use --data-path/) as string,
    });
    expect(existsSync(given.path)).toBe(false);
    expect(existsSync(`${given.path}.part`)).toBe(false);
  });

  it('refuses a part of another file that makes the checksum wrong, and the next run succeeds', async () => {
    const url = await serve((request, response) => sendRange(request, response));
    const given = options(url);
    await mkdir(join(given.path, '..'), { recursive: true });
    await writeFile(`${given.path}.part`, Buffer.alloc(1000));
    await expect(downloadFile(given)).rejects.toMatchObject({ code: 'BAD_DATA' });
    await downloadFile(given);
    expect(readFileSync(given.path).equals(content)).toBe(true);
  });

  it('gives up after its attempts, keeps what came, and says what to do', async () => {
    const url = await serve((_request, response) => cutAfter(response, 50_000));
    const given = options(url, { attempts: 2 });
    await expect(downloadFile(given)).rejects.toMatchObject({
      code: 'OFFLINE',
      message: expect.stringMatching(/attempt 2 of 2.*running again continues it. Use --data-path/) as string,
    });
    expect(existsSync(`${given.path}.part`)).toBe(true);
  });

  it('does not count connections that brought something', async () => {
    const url = await serve((request, response, call) => {
      const start = Number(/bytes=(\d+)-/.exec(request.headers.range ?? '')?.[1] ?? 0);
      if (call > 6) return sendRange(request, response);
      const length = content.length - start;
      const headers = {
        'content-length': length,
        'content-range': `bytes ${start}-${content.length - 1}/${content.length}`,
      };
      response.writeHead(start > 0 ? 206 : 200, headers);
      response.write(content.subarray(start, start + 10_000), () => setTimeout(() => response.destroy(), 20));
    });
    const given = options(url, { attempts: 3 });
    await downloadFile(given);
    expect(readFileSync(given.path).equals(content)).toBe(true);
  });

  it('twice at once leaves one whole file and no parts', async () => {
    const url = await serve((request, response, call) => {
      if (call <= 2) cutAfter(response, 100_000 * call);
      else sendRange(request, response);
    });
    const given = options(url);
    await mkdir(join(given.path, '..'), { recursive: true });
    await writeFile(`${given.path}.part`, content.subarray(0, 1000));
    await Promise.all([downloadFile(given), downloadFile(given), downloadFile(given)]);
    expect(readFileSync(given.path).equals(content)).toBe(true);
    expect(readdirSync(join(given.path, '..'))).toEqual(['file.bin']);
  });

  it('a folder that cannot be written to is no matter of the network', async () => {
    const url = await serve((request, response) => sendRange(request, response));
    const base = folder();
    await mkdir(base, { recursive: true });
    await writeFile(join(base, 'file'), '');
    await expect(downloadFile(options(url, { path: join(base, 'file', 'x') }))).rejects.toMatchObject({ code: 'IO' });
    await expect(downloadFile(options(url, { path: join(base, 'file', 'folder', 'x') }))).rejects.toMatchObject({
      code: 'IO',
      message: expect.stringContaining('Set TENSORLOOM_CACHE to a folder that you can write to.') as string,
    });
  });

  it('does not ask again for a file that is not there', async () => {
    let calls = 0;
    const url = await serve((_request, response, call) => ((calls = call), response.writeHead(404).end()));
    await expect(downloadFile(options(url))).rejects.toThrow(/answered 404/);
    expect(calls).toBe(1);
  });

  it('counts a silent connection as cut', async () => {
    const url = await serve((request, response, call) =>
      call === 1 ? response.writeHead(200, { 'content-length': 10 }).flushHeaders() : sendRange(request, response),
    );
    const given = options(url, { idleTimeoutMs: 100 });
    await downloadFile(given);
    expect(readFileSync(given.path).equals(content)).toBe(true);
  });

  it('without a network says so, with the way out', async () => {
    const given = options('http://127.0.0.1:9/file', { attempts: 1 });
    await expect(downloadFile(given)).rejects.toMatchObject({
      code: 'OFFLINE',
      message: expect.stringMatching(/Cannot download http.*Use --data-path/) as string,
    });
  });
});

describe('openImdb without a path', () => {
  it('downloads the archive into the cache, once', async () => {
    const entries: Record<string, string> = {};
    for (const part of ['train/pos', 'train/neg', 'test/pos', 'test/neg'])
      for (let i = 0; i < 5; i++) entries[`aclImdb/${part}/${i}_1.txt`] = part;
    const archive = await makeTarGz(entries);
    let calls = 0;
    const url = await serve((request, response, call) => ((calls = call), sendRange(request, response, archive)));
    const cacheDir = folder();
    const given = { cacheDir, split: 'standard', download: { url, bytes: archive.length } };
    const first = await openImdb(given);
    const second = await openImdb(given);
    expect(calls).toBe(1);
    expect(second.fingerprint).toBe(first.fingerprint);
    expect((await second.read()).test.texts).toHaveLength(10);
  });

  it('offline says to use --data-path', async () => {
    const download = { url: 'http://127.0.0.1:9/aclImdb_v1.tar.gz' };
    await expect(openImdb({ cacheDir: folder(), download })).rejects.toMatchObject({
      code: 'OFFLINE',
      message: expect.stringContaining('--data-path=FILE') as string,
    });
  });
});
