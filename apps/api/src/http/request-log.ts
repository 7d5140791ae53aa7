/**
 * One line per request from an allow-list: never headers, bodies, or a raw URL (`?key=` is a credential). The request id is on every
 * answer, also on those Fastify gives before any handler.
 */
import { randomUUID } from 'node:crypto';
import type { IncomingMessage } from 'node:http';
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify';
import type { Logger } from '#libs/platform/logging/logger.js';

const ACCEPTED_REQUEST_ID = /^[\x21-\x7e]{1,128}$/;
const MAX_LOGGED_PATH = 200;

/** The sender's `x-request-id` when it is printable ASCII of at most 128 bytes, else one of ours. */
export function requestIdOf(request: Pick<IncomingMessage, 'headers'>): string {
  const sent = request.headers['x-request-id'];
  return typeof sent === 'string' && ACCEPTED_REQUEST_ID.test(sent) ? sent : `req_${randomUUID()}`;
}

/** A URL fit for a log: path only for what is no route of ours, `key=` blanked wherever it stands. */
export function redactUrl(url: string): string {
  return url
    .replaceAll(/([?&;]key=)[^&;#\s]*/gi, '$1[redacted]')
    .replaceAll(/tg_[a-z0-9]+_[a-z0-9]+_[a-z0-9]+/gi, '[redacted]')
    .slice(0, MAX_LOGGED_PATH);
}

/** The headers every answer has. */
export function setBaseHeaders(request: FastifyRequest, reply: FastifyReply): void {
  reply.headers(SECURITY_HEADERS);
  reply.header('x-request-id', request.id);
}

/** Sets the base headers on every answer and logs each request once. */
export function registerRequestLog(instance: FastifyInstance, logger: Logger): void {
  // Hooks with a callback: an async one costs every request a turn of the microtask queue.
  instance.addHook('onRequest', (request, reply, done) => {
    setBaseHeaders(request, reply);
    done();
  });
  instance.addHook('onResponse', (request, reply, done) => {
    const route = request.routeOptions.url ?? redactUrl(request.url.split('?', 1)[0] ?? '');
    logger.info(
      {
        requestId: request.id,
        method: request.method,
        route,
        status: reply.statusCode,
        elapsedMs: Math.round(reply.elapsedTime),
        ...(request.caller ? { caller: request.caller.keyId } : {}),
      },
      'request',
    );
    done();
  });
}

/** For an API that answers JSON: nothing may be framed, sniffed, cached or run. Pages that need more set their own policy. */
const SECURITY_HEADERS: Readonly<Record<string, string>> = {
  'x-content-type-options': 'nosniff',
  'x-frame-options': 'DENY',
  'referrer-policy': 'no-referrer',
  'content-security-policy': "default-src 'none'; frame-ancestors 'none'",
  'cross-origin-resource-policy': 'same-origin',
  'cache-control': 'no-store',
};
