/**
 * Requests to URLs that a caller chose. Guarantees: the name is resolved once and the connection goes to the addresses that were checked
 * (a second answer of a rebinding resolver is never asked for), no connection at all is made where one of them is not allowed, redirects
 * are answers and not followed, no connection is shared with another request, and time and size are bounded.
 */
import { lookup as dnsLookup } from 'node:dns/promises';
import { request as httpRequest, type IncomingMessage, type RequestOptions } from 'node:http';
import { request as httpsRequest } from 'node:https';
import { isIP, type LookupFunction } from 'node:net';
import { isAllowed, isPublicAddress, type OutgoingAllowance } from './outgoing-allow.js';

export interface OutgoingPost {
  readonly url: string;
  readonly headers: Readonly<Record<string, string>>;
  readonly body: string;
  /** From the call to the last byte that is read, name resolution included. */
  readonly deadlineMs: number;
  /** What is kept of the answer's body; the rest is not read. */
  readonly maxResponseBytes: number;
}

export type OutgoingOutcome =
  | { readonly kind: 'answered'; readonly status: number; readonly retryAfter: string | null; readonly body: string }
  /** No connection was made. */
  | { readonly kind: 'refused'; readonly reason: RefusalReason }
  /** `timeout`, or the code of the system's or TLS error. */
  | { readonly kind: 'failed'; readonly reason: string };

export type RefusalReason = 'url_invalid' | 'url_not_https' | 'port_not_allowed' | 'address_not_allowed' | 'name_not_resolved';

export interface ResolvedAddress {
  readonly address: string;
  readonly family: number;
}
export type Resolve = (host: string) => Promise<readonly ResolvedAddress[]>;

const MAX_URL_LENGTH = 2_048;
const PORTS: ReadonlySet<number> = new Set([80, 443]);
const MAX_HEADER_BYTES = 16_384;

interface Target {
  readonly url: URL;
  /** Without the brackets of an IPv6 address. */
  readonly host: string;
  readonly port: number;
}

export class OutgoingHttp {
  constructor(
    private readonly allowances: readonly OutgoingAllowance[],
    /** Every address of a name; the system's resolver unless a test says otherwise. */
    private readonly resolve: Resolve = async (host) => await dnsLookup(host, { all: true }),
  ) {}

  /** Why this URL could never be called, as far as that can be told without asking for its address; null where it may be. */
  checkUrl(url: string): RefusalReason | null {
    const target = parseTarget(url);
    if (target === null) return 'url_invalid';
    return isIP(target.host) === 0 ? this.refusalOf(target, null) : this.refusalOf(target, target.host);
  }

  /** Never throws: whatever goes wrong is an outcome. */
  async post(input: OutgoingPost): Promise<OutgoingOutcome> {
    const target = parseTarget(input.url);
    if (target === null) return { kind: 'refused', reason: 'url_invalid' };
    const signal = AbortSignal.timeout(input.deadlineMs);
    const addresses = await this.addressesOf(target, signal);
    if (addresses === 'timeout') return { kind: 'failed', reason: 'timeout' };
    if (addresses.length === 0) return { kind: 'refused', reason: 'name_not_resolved' };
    for (const { address } of addresses) {
      const reason = this.refusalOf(target, address);
      if (reason !== null) return { kind: 'refused', reason };
    }
    return await send(target, addresses, input, signal);
  }

  /** Port and scheme of a name that is not resolved yet are judged by its name alone: an entry for its network may still allow them. */
  private refusalOf(target: Target, address: string | null): RefusalReason | null {
    if (address === null) {
      const mayBeAllowed = this.allowances.some((entry) => entry.kind === 'network') || isAllowed(this.allowances, { ...target, address: '' });
      return mayBeAllowed ? null : transportRefusal(target);
    }
    if (isAllowed(this.allowances, { ...target, address })) return null;
    return isPublicAddress(address) ? transportRefusal(target) : 'address_not_allowed';
  }

  private async addressesOf(target: Target, signal: AbortSignal): Promise<readonly ResolvedAddress[] | 'timeout'> {
    const family = isIP(target.host);
    if (family !== 0) return [{ address: target.host, family }];
    let onAbort = (): void => undefined;
    const late = new Promise<'timeout'>((settle) => {
      onAbort = () => settle('timeout');
      signal.addEventListener('abort', onAbort);
    });
    try {
      return await Promise.race([this.resolve(target.host).catch(() => []), late]);
    } finally {
      signal.removeEventListener('abort', onAbort);
    }
  }
}

/** The URL parser turns decimal, octal, hexadecimal and short spellings of an address into dotted decimals, so they are judged as such. */
function parseTarget(text: string): Target | null {
  if (text.length > MAX_URL_LENGTH || !URL.canParse(text)) return null;
  const url = new URL(text);
  if (url.protocol !== 'https:' && url.protocol !== 'http:') return null;
  if (url.username !== '' || url.password !== '' || url.hash !== '' || url.hostname === '') return null;
  const host = url.hostname.replace(/^\[(.*)\]$/, '$1');
  const port = url.port === '' ? (url.protocol === 'https:' ? 443 : 80) : Number(url.port);
  return { url, host, port };
}

function transportRefusal({ url, port }: Target): RefusalReason | null {
  if (url.protocol !== 'https:') return 'url_not_https';
  return PORTS.has(port) ? null : 'port_not_allowed';
}

async function send(target: Target, addresses: readonly ResolvedAddress[], input: OutgoingPost, signal: AbortSignal): Promise<OutgoingOutcome> {
  const options: RequestOptions = {
    method: 'POST',
    headers: { ...input.headers, 'content-length': String(Buffer.byteLength(input.body)) },
    agent: false,
    lookup: pinned(addresses),
    maxHeaderSize: MAX_HEADER_BYTES,
    signal,
  };
  return await new Promise<OutgoingOutcome>((settle) => {
    const request = target.url.protocol === 'https:' ? httpsRequest(target.url, options) : httpRequest(target.url, options);
    let answered = false;
    request.on('error', (error) => {
      // An answer that breaks off has its status already: the end of its body is told by the response.
      if (!answered) settle({ kind: 'failed', reason: signal.aborted ? 'timeout' : reasonOf(error) });
    });
    request.on('response', (response) => {
      answered = true;
      const answer = (body: Buffer): void => {
        settle({ kind: 'answered', status: response.statusCode ?? 0, retryAfter: response.headers['retry-after'] ?? null, body: body.toString('utf8') });
        request.destroy();
      };
      readStart(response, input.maxResponseBytes, answer);
    });
    request.end(input.body);
  });
}

/** Hands over what was read when the answer ends, breaks off or is long enough: its status is known by then. */
function readStart(response: IncomingMessage, maxBytes: number, done: (body: Buffer) => void): void {
  let body = Buffer.alloc(0);
  response.on('data', (chunk: Buffer) => {
    body = Buffer.concat([body, chunk.subarray(0, maxBytes - body.length)]);
    if (body.length >= maxBytes) done(body);
  });
  response.on('close', () => done(body));
  response.on('error', () => done(body));
}

/** Answers the addresses that were checked, whatever name is asked for. Host header and TLS server name stay those of the URL. */
function pinned(addresses: readonly ResolvedAddress[]): LookupFunction {
  return (_host, options, callback) => {
    const [first] = addresses;
    if (options.all === true) callback(null, [...addresses]);
    else callback(null, first?.address ?? '', first?.family ?? 0);
  };
}

function reasonOf(error: Error): string {
  const code = (error as { code?: unknown }).code;
  // With several addresses the error is an aggregate of theirs.
  const first = error instanceof AggregateError ? (error.errors[0] as { code?: unknown } | undefined)?.code : undefined;
  return typeof code === 'string' ? code : typeof first === 'string' ? first : 'connection_failed';
}
