/**
 * Which bodies are read, and how: JSON strictly (json-body.ts), NDJSON as text for its route to split, everything else 415. Routes that
 * gateways ask take bytes of any type, because the body is somebody else's and refusing it would refuse the call.
 * The bytes as received stay on the request, because webhook signatures are over bytes, not over re-encoded JSON.
 */
import { isUtf8 } from 'node:buffer';
import type { FastifyInstance, FastifyRequest } from 'fastify';
import { DomainError } from '#libs/kernel/index.js';
import { isTooDeep, jsonProblemDetail, readJsonBytes } from './json-body.js';

declare module 'fastify' {
  interface FastifyContextConfig {
    /** The route reads its JSON body itself, as text. */
    bodyAsText?: boolean;
    /** The route gets whatever bytes came, of any type or none: a gateway passes on what its client sent. */
    anyBody?: boolean;
  }
  interface FastifyRequest {
    /** The body exactly as received; null when there was none. */
    rawBody: Buffer | null;
  }
}

/** 8 MiB, the most one call may carry (contract, section 3). */
export const BODY_LIMIT_BYTES = 8 * 1024 * 1024;
const JSON_TYPES = /^application\/(?:[a-z0-9.-]+\+)?json\s*(?:;|$)/;
/** What the body of a gateway's question is taken for, whatever its client called it. */
const ANY_TYPE = 'application/octet-stream';
const NDJSON_TYPES = /^application\/(?:x-ndjson|ndjson|x-jsonlines|jsonl)\s*(?:;|$)/;

const UNSUPPORTED_TYPE = {
  code: 'request.unsupported_media_type',
  kind: 'unsupported',
  publicMessage: 'send application/json, or application/x-ndjson where the route takes it',
} as const;

/** Installs the parsers; replaces all of Fastify's own. */
export function registerBodyParsers(instance: FastifyInstance): void {
  instance.decorateRequest('rawBody', null);
  instance.removeAllContentTypeParsers();
  instance.addContentTypeParser(JSON_TYPES, { parseAs: 'buffer' }, (request: FastifyRequest, body: Buffer, done) => {
    request.rawBody = body;
    // An empty body is "no body": whether the route needs one is for its schema to say.
    if (body.length === 0) {
      done(null, undefined);
      return;
    }
    if (request.routeOptions.config.bodyAsText) {
      readText(body, done);
      return;
    }
    const reading = readJsonBytes(body);
    if (reading.ok) done(null, reading.value);
    else done(unreadable(`request.${reading.problem}`, jsonProblemDetail(reading.problem)));
  });
  instance.addContentTypeParser(NDJSON_TYPES, { parseAs: 'buffer' }, (request: FastifyRequest, body: Buffer, done) => {
    request.rawBody = body;
    readText(body, done);
  });
  instance.addHook('onRequest', (request, _reply, done) => {
    if (request.routeOptions.config.anyBody === true) {
      request.headers['content-type'] = ANY_TYPE;
      delete request.headers['content-encoding'];
    }
    done();
  });
  instance.addContentTypeParser(ANY_TYPE, { parseAs: 'buffer' }, (request: FastifyRequest, body: Buffer, done) => {
    if (request.routeOptions.config.anyBody === true) done(null, body);
    else done(new DomainError(UNSUPPORTED_TYPE));
  });
  // Traefik asks with GET and the client's body, which Fastify leaves unread.
  instance.addHook('preValidation', async (request) => {
    if (request.routeOptions.config.anyBody === true && request.body === undefined && announcesBody(request)) request.body = await beginningOf(request.raw);
  });
  // A compressed body would be parsed as noise, and inflating one is how a small request becomes a huge one.
  instance.addHook('preParsing', (request, _reply, payload, done) => {
    const encoding = request.headers['content-encoding'];
    if (encoding !== undefined && encoding !== 'identity') {
      done(new DomainError({ code: 'request.unsupported_encoding', kind: 'unsupported', publicMessage: 'send the body without content-encoding' }));
      return;
    }
    done(null, payload);
  });
}

/** Whether the body came as NDJSON, so that `request.body` is its text. */
export function isNdjson(request: FastifyRequest): boolean {
  return NDJSON_TYPES.test((request.headers['content-type'] ?? '').toLowerCase());
}

function announcesBody({ headers }: FastifyRequest): boolean {
  return headers['transfer-encoding'] !== undefined || Number(headers['content-length'] ?? 0) > 0;
}

/** At most {@link BODY_LIMIT_BYTES}; the rest is let go by, as it is where a gateway sends only the beginning. */
async function beginningOf(stream: AsyncIterable<Buffer>): Promise<Buffer> {
  const parts: Buffer[] = [];
  let size = 0;
  for await (const part of stream) {
    if (size < BODY_LIMIT_BYTES) parts.push(part);
    size += part.length;
  }
  return Buffer.concat(parts).subarray(0, BODY_LIMIT_BYTES);
}

function readText(body: Buffer, done: (error: Error | null, value?: unknown) => void): void {
  const text = isUtf8(body) ? body.toString('utf8') : null;
  if (text === null) done(unreadable('request.not_utf8', jsonProblemDetail('not_utf8')));
  else if (isTooDeep(text)) done(unreadable('request.too_deep', jsonProblemDetail('too_deep')));
  else done(null, text);
}

function unreadable(code: string, publicMessage: string): DomainError {
  return new DomainError({ code, kind: 'invalid', publicMessage });
}
