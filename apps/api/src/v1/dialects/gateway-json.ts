import type { FastifyRequest } from 'fastify';
import { DomainError, isJsonObject, type JsonObject } from '#libs/kernel/index.js';
import type { GatewayQuestion } from '#libs/metering/index.js';
import { readJsonBytes } from '../../http/json-body.js';
import { invalidRequest } from '../../http/validation.js';

/** The JSON object of a gateway's question, or null where it is none: a client can put anything into the part that is its own. */
export function gatewayJson(request: FastifyRequest): JsonObject | null {
  if (!Buffer.isBuffer(request.body)) return null;
  const reading = readJsonBytes(request.body);
  const value = reading.ok ? (reading.value as JsonObject) : null;
  return isJsonObject(value) ? value : null;
}

/** The question as fields of `POST /v1/authorize`. @throws DomainError request.unreadable, request.invalid for a tenant that is no id */
export function questionFields(question: GatewayQuestion | null): Record<string, unknown> {
  if (question === null) {
    throw new DomainError({
      code: 'request.unreadable',
      kind: 'invalid',
      publicMessage: 'the question cannot be read, so nothing can be promised for this call',
    });
  }
  if (question.unusable.includes('tenant_id')) throw invalidRequest([{ path: 'tenant_id', message: 'must be an id of 1 to 128 printable bytes' }]);
  const { hold_id: _hold, ...found } = question.found;
  const { callId, provider, model, inputTokens, maxOutputTokens } = question;
  return { ...found, call_id: callId, provider, model, input_tokens: inputTokens, max_output_tokens: maxOutputTokens };
}
