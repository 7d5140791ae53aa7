/**
 * Messages as Standard Webhooks (https://www.standardwebhooks.com) has them, so that its libraries verify ours: HMAC-SHA256 over
 * "<webhook-id>.<webhook-timestamp>.<body>" with the bytes that the base64 after "whsec_" stands for. The id is the same on every
 * attempt, so that a receiver can tell a repeat; the timestamp is the attempt's, so that an old message cannot be replayed later.
 */
import { createHmac, randomBytes } from 'node:crypto';
import { toWireId } from '#libs/kernel/index.js';
import type { Alert } from './alert.js';

const SECRET_PREFIX = 'whsec_';
// The specification's bounds; ours are as long as the digest.
const MIN_SECRET_BYTES = 24;
const MAX_SECRET_BYTES = 64;
const OWN_SECRET_BYTES = 32;
const SECRET = /^whsec_(?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?$/;

export const SECRET_RULE = `must be "whsec_" and the base64 of ${MIN_SECRET_BYTES} to ${MAX_SECRET_BYTES} bytes`;

export interface WebhookMessage {
  readonly id: string;
  /** JSON text, signed byte for byte. */
  readonly body: string;
}

export function makeSecret(): string {
  return SECRET_PREFIX + randomBytes(OWN_SECRET_BYTES).toString('base64');
}

export function isSecret(text: string): boolean {
  if (!SECRET.test(text)) return false;
  const { length } = keyOf(text);
  return length >= MIN_SECRET_BYTES && length <= MAX_SECRET_BYTES;
}

/** The headers of one attempt, with a signature per secret. */
export function signedHeaders(message: WebhookMessage, at: Date, secrets: readonly string[]): Record<string, string> {
  const timestamp = String(Math.floor(at.getTime() / 1_000));
  const signatures = secrets.map((secret) => {
    const signature = createHmac('sha256', keyOf(secret)).update(`${message.id}.${timestamp}.${message.body}`).digest('base64');
    return `v1,${signature}`;
  });
  return { 'webhook-id': message.id, 'webhook-timestamp': timestamp, 'webhook-signature': signatures.join(' ') };
}

/** The message that tells of an alert: always the same for the same alert. */
export function messageOf(alert: Alert): WebhookMessage {
  const id = toWireId('alrt', alert.alertId);
  const data = { ...alert.subject, alert_id: id, tenant_id: alert.tenantId, severity: alert.severity };
  return { id, body: JSON.stringify({ type: alert.kind, timestamp: alert.occurredAt.toISOString(), data }) };
}

function keyOf(secret: string): Buffer {
  return Buffer.from(secret.slice(SECRET_PREFIX.length), 'base64');
}
