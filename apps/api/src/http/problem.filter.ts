import { Catch, type ArgumentsHost, type ExceptionFilter } from '@nestjs/common';
import type { FastifyReply, FastifyRequest } from 'fastify';
import { Logger } from '#libs/platform/logging/logger.js';
import { problemDocument, retryAfterSeconds, toProblem } from './problem.js';

/** Turns whatever was thrown into problem+json; see problem.ts for the rules. */
@Catch()
export class ProblemFilter implements ExceptionFilter {
  constructor(private readonly logger: Logger) {}

  catch(error: unknown, host: ArgumentsHost): void {
    const http = host.switchToHttp();
    sendProblem(this.logger, error, http.getRequest<FastifyRequest>(), http.getResponse<FastifyReply>());
  }
}

/** Answers with the problem of `error`; a bug of ours is logged with its stack, a lost dependency with its cause. */
export function sendProblem(logger: Logger, error: unknown, request: FastifyRequest, reply: FastifyReply): void {
  const found = toProblem(error);
  if (found.unexpected) logger.error({ requestId: request.id, error }, 'request failed unexpectedly');
  else if (found.status === 503) logger.warn({ requestId: request.id, error }, 'request refused: unavailable');
  // A response that has begun (a streamed export) can only be cut off, so that the client sees it is incomplete.
  if (reply.raw.headersSent) {
    reply.raw.destroy();
    return;
  }
  if (found.status === 401) reply.header('www-authenticate', 'Bearer realm="tollgate"');
  if (found.retryAfterMs !== undefined) reply.header('retry-after', retryAfterSeconds(found.retryAfterMs));
  void reply
    .code(found.status)
    .header('content-type', 'application/problem+json; charset=utf-8')
    .send(JSON.stringify(problemDocument(found, request.id)));
}
