/** A server of our own on a free port of 127.0.0.1 that answers as the test says: for answers a real Tollgate gives only in trouble, or not yet. */
import { once } from 'node:events';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';

export interface Received {
  readonly method: string;
  readonly path: string;
  readonly headers: IncomingMessage['headers'];
  readonly body: any;
}

export interface StubServer {
  readonly url: string;
  readonly received: Received[];
  /** Those whose path ends so. */
  to(ending: string): Received[];
  close(): Promise<void>;
}

export type Answer = (request: Received, response: ServerResponse) => void | Promise<void>;

export async function startStubServer(answer: Answer): Promise<StubServer> {
  const received: Received[] = [];
  const server = createServer((request, response) => {
    void readJson(request).then(async (body) => {
      const seen = { method: request.method ?? '', path: request.url ?? '', headers: request.headers, body };
      received.push(seen);
      await answer(seen, response);
    });
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    received,
    to: (ending) => received.filter(({ path }) => path.endsWith(ending)),
    close: async () => {
      server.closeAllConnections();
      server.close();
      await once(server, 'close');
    },
  };
}

export function sendJson(response: ServerResponse, status: number, body: unknown, headers: Record<string, string> = {}): void {
  response.writeHead(status, { 'content-type': 'application/json', ...headers });
  response.end(JSON.stringify(body));
}

/** What an answer waits for until the test lets it go. */
export function gate(): { opened: Promise<void>; open: () => void } {
  let open = (): void => undefined;
  const opened = new Promise<void>((resolve) => (open = resolve));
  return { opened, open };
}

/** A decision as the contract words it. */
export function decision(fields: Record<string, unknown> = {}): Record<string, unknown> {
  return {
    decision: 'allow',
    model: null,
    route: null,
    max_output_tokens: null,
    reason: { code: 'ok', message: 'fits', scope: 'tenant', budget_id: null, retry_after_ms: null },
    hold: { hold_id: 'hold_1', amount_usd: '0.011000000', expires_at: '2026-11-22T12:15:00Z' },
    available_usd: '1.000000000',
    estimate: null,
    shadow: false,
    would: null,
    degraded: false,
    replayed: false,
    ...fields,
  };
}

export function reason(code: string, retryAfterMs: number | null = null): Record<string, unknown> {
  return { code, message: `because ${code}`, scope: 'tenant', budget_id: null, retry_after_ms: retryAfterMs };
}

async function readJson(request: IncomingMessage): Promise<unknown> {
  const parts: Buffer[] = [];
  for await (const part of request) parts.push(part as Buffer);
  const text = Buffer.concat(parts).toString('utf8');
  return text === '' ? undefined : JSON.parse(text);
}
