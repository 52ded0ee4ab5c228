/** A small Hugging Face hub on the loopback interface, with the endpoints that the client uses. For tests. */
import { createHash } from 'node:crypto';
import { createServer, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';

export const fakeCommit = '0123456789abcdef0123456789abcdef01234567';

export class FakeHub {
  /** Requests for file contents: path and Range header, in order. */
  readonly downloads: { path: string; range: string | undefined }[] = [];
  /** Break the connection after so many bytes of a file, once. */
  cutOnceAfter: { path: string; bytes: number } | undefined;
  /** Answer with other bytes than the listing promises. */
  corrupt: string | undefined;
  readonly #server: Server;

  constructor(
    readonly id: string,
    readonly files: Readonly<Record<string, Buffer>>,
    /** Names stored with LFS: listed by SHA-256. */
    readonly lfs: readonly string[],
  ) {
    this.#server = createServer((request, response) => {
      const { pathname } = new URL(request.url ?? '/', 'http://hub');
      if (pathname === `/api/models/${id}/revision/main`)
        return json(response, { _id: '1', id, sha: fakeCommit, lastModified: '2024-01-01T00:00:00Z' });
      if (pathname === `/api/models/${id}/tree/${fakeCommit}`) return json(response, this.#listing());
      const name = pathname.startsWith(`/${id}/resolve/${fakeCommit}/`)
        ? pathname.slice(`/${id}/resolve/${fakeCommit}/`.length)
        : undefined;
      const content = name === undefined ? undefined : this.files[name];
      if (name === undefined || content === undefined) return json(response, { error: 'Repository not found' }, 404);
      this.#send(response, name, content, request.headers.range);
    });
  }

  async start(): Promise<string> {
    await new Promise<void>((resolve) => this.#server.listen(0, '127.0.0.1', resolve));
    return `http://127.0.0.1:${(this.#server.address() as AddressInfo).port}`;
  }

  async stop(): Promise<void> {
    this.#server.closeAllConnections();
    await new Promise((resolve) => this.#server.close(resolve));
  }

  #listing(): unknown[] {
    return Object.entries(this.files).map(([path, content]) => ({
      type: 'file',
      path,
      size: content.length,
      oid: createHash('sha1').update(`blob ${content.length}\0`).update(content).digest('hex'),
      ...(this.lfs.includes(path)
        ? { lfs: { oid: createHash('sha256').update(content).digest('hex'), size: content.length, pointerSize: 130 } }
        : {}),
    }));
  }

  #send(response: ServerResponse, path: string, original: Buffer, range: string | undefined): void {
    const content = this.corrupt === path ? Buffer.alloc(original.length, 7) : original;
    const [, from, to] = /^bytes=(\d+)-(\d+)$/.exec(range ?? '') ?? [];
    const start = Number(from ?? 0);
    const end = to === undefined ? content.length : Math.min(Number(to) + 1, content.length);
    const headers = {
      ETag: '"e"',
      'Content-Length': end - start,
      ...(range === undefined ? {} : { 'Content-Range': `bytes ${start}-${end - 1}/${content.length}` }),
    };
    response.writeHead(range === undefined ? 200 : 206, headers);
    if (range !== 'bytes=0-0') this.downloads.push({ path, range });
    const cut = this.cutOnceAfter;
    if (cut?.path === path && range !== 'bytes=0-0') {
      this.cutOnceAfter = undefined;
      response.write(content.subarray(start, start + cut.bytes), () => setTimeout(() => response.destroy(), 50));
    } else response.end(content.subarray(start, end));
  }
}

function json(response: ServerResponse, body: unknown, status = 200): void {
  response.writeHead(status, { 'Content-Type': 'application/json' });
  response.end(JSON.stringify(body));
}
