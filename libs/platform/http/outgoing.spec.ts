import { createServer, type IncomingHttpHeaders, type RequestListener, type Server } from 'node:http';
import { createServer as createTcpServer, type AddressInfo, type Server as TcpServer } from 'node:net';
import { parseOutgoingAllow } from './outgoing-allow.js';
import { OutgoingHttp, type OutgoingOutcome, type Resolve, type ResolvedAddress } from './outgoing.js';

interface Listener {
  readonly port: number;
  /** Connections, whether or not a request came over them. */
  connections: number;
  readonly requests: { url: string; headers: IncomingHttpHeaders; body: string }[];
}

const servers: (Server | TcpServer)[] = [];
afterEach(async () => {
  await Promise.all(
    servers.splice(0).map(async (server) => {
      if ('closeAllConnections' in server) server.closeAllConnections();
      await new Promise<void>((closed) => server.close(() => closed()));
    }),
  );
});

async function listen(options: { host?: string; port?: number; answer?: RequestListener } = {}): Promise<Listener> {
  const listener: { port: number; connections: number; requests: Listener['requests'] } = { port: 0, connections: 0, requests: [] };
  const server = createServer((request, response) => {
    let body = '';
    request.on('data', (chunk: Buffer) => (body += chunk.toString('utf8')));
    request.on('end', () => {
      listener.requests.push({ url: request.url ?? '', headers: request.headers, body });
      if (options.answer) options.answer(request, response);
      else response.end('ok');
    });
  });
  server.on('connection', () => (listener.connections += 1));
  servers.push(server);
  await new Promise<void>((listening) => server.listen(options.port ?? 0, options.host ?? '127.0.0.1', listening));
  listener.port = (server.address() as AddressInfo).port;
  return listener;
}

/** Answers the given addresses one after the other, and counts. */
function resolverOf(...answers: readonly (readonly ResolvedAddress[])[]): { resolve: Resolve; asked: () => number } {
  let asked = 0;
  const resolve: Resolve = async () => {
    const answer = answers[Math.min(asked, answers.length - 1)] ?? [];
    asked += 1;
    return await Promise.resolve(answer);
  };
  return { resolve, asked: () => asked };
}

const at = (...addresses: string[]): ResolvedAddress[] => addresses.map((address) => ({ address, family: address.includes(':') ? 6 : 4 }));

async function post(allow: string, url: string, resolve?: Resolve, more: { deadlineMs?: number } = {}): Promise<OutgoingOutcome> {
  const outgoing = new OutgoingHttp(parseOutgoingAllow(allow) ?? [], resolve);
  return await outgoing.post({ url, headers: { 'content-type': 'text/plain' }, body: 'hello', deadlineMs: 10_000, maxResponseBytes: 16, ...more });
}

describe('F35 an outgoing request never reaches what is not public', () => {
  it.each([
    ['loopback', 'http://127.0.0.1:PORT/'],
    ['loopback over https', 'https://127.0.0.1:PORT/'],
    ['IPv4-mapped loopback', 'http://[::ffff:127.0.0.1]:PORT/'],
    ['IPv4-mapped loopback in hexadecimal', 'http://[::ffff:7f00:1]:PORT/'],
    ['a decimal spelling', 'http://2130706433:PORT/'],
    ['a hexadecimal spelling', 'http://0x7f000001:PORT/'],
    ['an octal spelling', 'http://0177.0.0.01:PORT/'],
    ['a short spelling', 'http://127.1:PORT/'],
    ['this network', 'http://0.0.0.0:PORT/'],
    ['zero', 'http://0:PORT/'],
    ['full-width digits', 'http://１２７.0.0.1:PORT/'],
    ['NAT64', 'http://[64:ff9b::7f00:1]:PORT/'],
    ['6to4', 'http://[2002:7f00:1::]:PORT/'],
  ])('no connection to %s', async (_what, url) => {
    const listener = await listen();
    const outcome = await post('', url.replace('PORT', String(listener.port)));
    expect(outcome).toEqual({ kind: 'refused', reason: 'address_not_allowed' });
    expect(listener.connections).toBe(0);
  });

  it.each([
    ['the metadata address', at('169.254.169.254')],
    ['loopback', at('127.0.0.1')],
    ['loopback beside a public address', at('93.184.216.34', '127.0.0.1')],
    ['a mapped address', at('::ffff:127.0.0.1')],
    ['a unique local address', at('fd00::1')],
  ])('no connection for a name that resolves to %s', async (_what, addresses) => {
    const listener = await listen();
    const { resolve } = resolverOf(addresses);
    for (const url of [`https://hooks.example:${listener.port}/`, 'https://hooks.example/']) {
      const outcome = await post('', url, resolve);
      expect(outcome.kind).toBe('refused');
    }
    expect(listener.connections).toBe(0);
  });

  it('no connection where the name cannot be resolved', async () => {
    const broken: Resolve = async () => await Promise.reject(new Error('SERVFAIL'));
    expect(await post('127.0.0.0/8', 'http://hooks.example/', broken)).toEqual({ kind: 'refused', reason: 'name_not_resolved' });
    expect(await post('127.0.0.0/8', 'http://hooks.example/', resolverOf([]).resolve)).toEqual({ kind: 'refused', reason: 'name_not_resolved' });
  });

  it('a resolver that never answers costs the deadline and nothing more', async () => {
    const silent: Resolve = async () => await new Promise<never>(() => undefined);
    expect(await post('', 'https://hooks.example/', silent, { deadlineMs: 20 })).toEqual({ kind: 'failed', reason: 'timeout' });
  });

  it('a rebinding resolver is asked once, and the connection goes to the address that was checked', async () => {
    const forbidden = await listen();
    const checked = await listen({ host: '127.0.0.2', port: forbidden.port });
    const { resolve, asked } = resolverOf(at('127.0.0.2'), at('127.0.0.1'));
    expect(await post('127.0.0.2', `http://hooks.example:${forbidden.port}/`, resolve)).toMatchObject({ kind: 'answered', status: 200 });
    expect([asked(), checked.connections, forbidden.connections]).toEqual([1, 1, 0]);
  });

  it('a redirect is an answer and is not followed', async () => {
    const forbidden = await listen({ host: '127.0.0.2' });
    const answer: RequestListener = (_request, response) => response.writeHead(307, { location: `http://127.0.0.2:${forbidden.port}/` }).end();
    const listener = await listen({ answer });
    expect(await post('127.0.0.0/8', `http://127.0.0.1:${listener.port}/`)).toMatchObject({ kind: 'answered', status: 307 });
    expect([listener.connections, forbidden.connections]).toEqual([1, 0]);
  });

  it('a public address is called over https on port 443 or 80 only', async () => {
    const outgoing = new OutgoingHttp([]);
    expect(outgoing.checkUrl('https://93.184.216.34/')).toBeNull();
    expect(outgoing.checkUrl('https://hooks.example/')).toBeNull();
    expect(outgoing.checkUrl('http://93.184.216.34/')).toBe('url_not_https');
    expect(outgoing.checkUrl('http://hooks.example/')).toBe('url_not_https');
    expect(outgoing.checkUrl('https://hooks.example:8443/')).toBe('port_not_allowed');
    expect(outgoing.checkUrl('https://10.0.0.1/')).toBe('address_not_allowed');
    expect(await post('', 'http://hooks.example/', resolverOf(at('93.184.216.34')).resolve)).toEqual({ kind: 'refused', reason: 'url_not_https' });
    expect(await post('', 'https://hooks.example:22/', resolverOf(at('93.184.216.34')).resolve)).toEqual({ kind: 'refused', reason: 'port_not_allowed' });
  });

  it.each([
    'ftp://hooks.example/',
    'file:///etc/passwd',
    'https://user:pass@hooks.example/',
    'https://hooks.example/#part',
    'hooks.example',
    `https://h.example/${'x'.repeat(2_048)}`,
  ])('takes no such URL: %s', async (url) => {
    expect(new OutgoingHttp([]).checkUrl(url)).toBe('url_invalid');
    expect(await post('0.0.0.0/0', url)).toEqual({ kind: 'refused', reason: 'url_invalid' });
  });
});

describe('what an operator allows works', () => {
  it.each([['127.0.0.0/8'], ['127.0.0.1'], ['127.0.0.1:PORT'], ['hooks.internal'], ['hooks.internal:PORT']])('an entry %s', async (entry) => {
    const listener = await listen();
    const allow = entry.replace('PORT', String(listener.port));
    const outcome = await post(allow, `http://hooks.internal:${listener.port}/in?a=b`, resolverOf(at('127.0.0.1')).resolve);
    expect(outcome).toEqual({ kind: 'answered', status: 200, retryAfter: null, body: 'ok' });
    expect(listener.requests).toEqual([
      { url: '/in?a=b', body: 'hello', headers: expect.objectContaining({ host: `hooks.internal:${listener.port}`, 'content-length': '5' }) },
    ]);
  });

  it('the TLS server name stays that of the URL', async () => {
    const hello = new Promise<Buffer>((seen) => {
      const server = createTcpServer((socket) => {
        socket.on('error', () => undefined);
        socket.once('data', (bytes) => {
          seen(bytes);
          socket.destroy();
        });
      });
      servers.push(server);
      server.listen(0, '127.0.0.1', () => {
        void post('127.0.0.1', `https://hooks.internal:${(server.address() as AddressInfo).port}/`, resolverOf(at('127.0.0.1')).resolve);
      });
    });
    expect((await hello).includes('hooks.internal')).toBe(true);
  });
});

describe('bounds', () => {
  it('reads no more of an answer than it was told, and says what Retry-After says', async () => {
    const answer: RequestListener = (_request, response) => response.writeHead(503, { 'retry-after': '7' }).end('x'.repeat(100_000));
    const listener = await listen({ answer });
    expect(await post('127.0.0.0/8', `http://127.0.0.1:${listener.port}/`)).toEqual({ kind: 'answered', status: 503, retryAfter: '7', body: 'x'.repeat(16) });
  });

  it('an endpoint that never answers costs the deadline', async () => {
    const listener = await listen({ answer: () => undefined });
    expect(await post('127.0.0.0/8', `http://127.0.0.1:${listener.port}/`, undefined, { deadlineMs: 50 })).toEqual({ kind: 'failed', reason: 'timeout' });
  });

  it('an answer that never ends counts by its status', async () => {
    const answer: RequestListener = (_request, response) => void response.writeHead(200).write('part');
    const listener = await listen({ answer });
    const outcome = await post('127.0.0.0/8', `http://127.0.0.1:${listener.port}/`, undefined, { deadlineMs: 200 });
    expect(outcome).toEqual({ kind: 'answered', status: 200, retryAfter: null, body: 'part' });
  });

  it('a closed port is a failure with its reason', async () => {
    const listener = await listen();
    await new Promise<void>((closed) => (servers.pop() as Server).close(() => closed()));
    expect(await post('127.0.0.0/8', `http://127.0.0.1:${listener.port}/`)).toEqual({ kind: 'failed', reason: 'ECONNREFUSED' });
  });
});
