import { createParamDecorator, type ExecutionContext } from '@nestjs/common';
import type { FastifyRequest } from 'fastify';
import { EXTERNAL_ID_RULE, isExternalId } from '#libs/kernel/index.js';
import { invalidRequest } from './validation.js';

/** Injects the `Idempotency-Key` header, or null when it was not sent. @throws DomainError request.invalid */
export const IdempotencyKey = createParamDecorator((_data: unknown, context: ExecutionContext): string | null => {
  const header = context.switchToHttp().getRequest<FastifyRequest>().headers['idempotency-key'];
  if (header === undefined) return null;
  // Node reads header bytes as latin1; what the caller sent is UTF-8.
  const text = typeof header === 'string' ? Buffer.from(header, 'latin1').toString('utf8') : '';
  if (!isExternalId(text)) throw invalidRequest([{ path: 'header.idempotency-key', message: EXTERNAL_ID_RULE }]);
  return text;
});
