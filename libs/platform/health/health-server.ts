/** Answers /health/live and /health/ready for a process that serves nothing else (the worker). */
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import type { HealthChecks } from './health.js';

export interface HealthServer {
  readonly url: string;
  close(): Promise<void>;
}

/** @throws Error when the port is taken */
export async function startHealthServer(input: { health: HealthChecks; host: string; port: number }): Promise<HealthServer> {
  const server = createServer((request, response) => {
    const answer = (status: number, body: object): void => {
      response.writeHead(status, { 'content-type': 'application/json', ...(status === 503 ? { 'retry-after': '1' } : {}) });
      response.end(JSON.stringify(body));
    };
    if (request.url === '/health/live') return answer(200, { status: 'ok' });
    if (request.url !== '/health/ready') return answer(404, { status: 'not found' });
    void input.health.run().then(({ ok, checks }) => {
      answer(ok ? 200 : 503, { status: ok ? 'ok' : 'unavailable', checks: Object.fromEntries(checks.map(({ name, ...result }) => [name, result])) });
    });
  });
  await listen(server, input.port, input.host);
  const { address, port, family } = server.address() as AddressInfo;
  return {
    url: `http://${family === 'IPv6' ? `[${address}]` : address}:${port}`,
    close: async () => {
      server.closeAllConnections();
      await new Promise<void>((resolve) => server.close(() => resolve()));
    },
  };
}

async function listen(server: Server, port: number, host: string): Promise<void> {
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject);
    server.listen(port, host, resolve);
  });
}
