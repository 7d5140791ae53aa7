/**
 * The quick way through `POST /v1/authorize`: a body whose every field is plainly right is taken as it is; anything else gives null and
 * is judged and explained by the schema. It accepts nothing that the schema refuses, and reads it to the same (plain-body.spec.ts
 * compares the two); the schema alone cost as much as the whole decision.
 */
import type { z } from 'zod';
import { isExternalId } from '#libs/kernel/index.js';
import { MAX_TOKENS, type authorizeBody } from './authorize.schemas.js';

type Check = (value: unknown) => boolean;

const isId: Check = (value) => typeof value === 'string' && isExternalId(value);
const isCount: Check = (value) => Number.isSafeInteger(value) && (value as number) >= 0 && (value as number) <= MAX_TOKENS;
const isPriority: Check = (value) => value === 'normal' || value === 'critical';

// Fields that are missing here (an amount to parse, tags) are the schema's.
const CHECKS: ReadonlyMap<string, Check> = new Map([
  ...['call_id', 'tenant_id', 'user_id', 'feature', 'environment', 'assistant_id', 'thread_id', 'request_id', 'api_key_id', 'provider', 'model'].map(
    (name) => [name, isId] as const,
  ),
  ['input_tokens', isCount],
  ['max_output_tokens', isCount],
  ['priority', isPriority],
]);

/** The body as the schema would read it, or null where the schema has to look. */
export function readPlainBody(body: unknown): z.infer<typeof authorizeBody> | null {
  if (typeof body !== 'object' || body === null || Array.isArray(body)) return null;
  const fields = body as Record<string, unknown>;
  for (const name in fields) {
    const value = fields[name];
    if (value === null ? name !== 'estimated_cost_usd' && name !== 'tags' && !CHECKS.has(name) : !CHECKS.get(name)?.(value)) return null;
  }
  return fields;
}
