import { createHmac, timingSafeEqual } from 'node:crypto';
import fc from 'fast-check';
import { isSecret, makeSecret, messageOf, signedHeaders, type WebhookMessage } from './webhook.js';

/** A receiver written from the specification's text, sharing nothing with the sender. */
function verify(headers: Record<string, string>, body: string, secret: string, nowMs: number): boolean {
  const { 'webhook-id': id, 'webhook-timestamp': timestamp, 'webhook-signature': signatures } = headers;
  if (id === undefined || timestamp === undefined || signatures === undefined) return false;
  if (Math.abs(nowMs / 1_000 - Number(timestamp)) > 300) return false;
  const key = Uint8Array.from(atob(secret.replace('whsec_', '')), (character) => character.charCodeAt(0));
  const expected = createHmac('sha256', key).update([id, timestamp, body].join('.')).digest();
  return signatures.split(' ').some((entry) => {
    const [version, value = ''] = entry.split(',');
    const given = Buffer.from(value, 'base64');
    return version === 'v1' && given.length === expected.length && timingSafeEqual(given, expected);
  });
}

const NOW = new Date('2026-11-22T12:00:00.900Z');
const message: WebhookMessage = { id: 'alrt_1', body: '{"type":"balance.low","data":{"name":"Ünï 🙂"}}' };

describe('signedHeaders', () => {
  it('signs the published Standard Webhooks vector as it is published', () => {
    const vector = { id: 'msg_p5jXN8AQM9LWM0D4loKWxJek', body: '{"test": 2432232314}' };
    expect(signedHeaders(vector, new Date(1_614_265_330_000), ['whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw'])).toEqual({
      'webhook-id': vector.id,
      'webhook-timestamp': '1614265330',
      'webhook-signature': 'v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=',
    });
  });

  it('a receiver with the old or the new secret of a rotation verifies it, one with another does not', () => {
    const [old, fresh, other] = [makeSecret(), makeSecret(), makeSecret()];
    const headers = signedHeaders(message, NOW, [fresh, old]);
    expect([old, fresh, other].map((secret) => verify(headers, message.body, secret, NOW.getTime()))).toEqual([true, true, false]);
  });

  it('any body verifies, and no changed one does', () => {
    fc.assert(
      fc.property(fc.string({ unit: 'binary' }), fc.uint8Array({ minLength: 24, maxLength: 64 }), (body, bytes) => {
        const secret = `whsec_${Buffer.from(bytes).toString('base64')}`;
        const headers = signedHeaders({ id: 'alrt_1', body }, NOW, [secret]);
        expect(isSecret(secret)).toBe(true);
        expect(verify(headers, body, secret, NOW.getTime())).toBe(true);
        expect(verify(headers, `${body} `, secret, NOW.getTime())).toBe(false);
        expect(verify({ ...headers, 'webhook-id': 'alrt_2' }, body, secret, NOW.getTime())).toBe(false);
      }),
    );
  });
});

describe('isSecret', () => {
  it('takes what makeSecret makes, each time another', () => {
    const secrets = Array.from({ length: 20 }, makeSecret);
    expect(secrets.every(isSecret)).toBe(true);
    expect(new Set(secrets).size).toBe(20);
  });

  it.each([
    ['without its prefix', 'MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw'],
    ['of 23 bytes', `whsec_${Buffer.alloc(23).toString('base64')}`],
    ['of 65 bytes', `whsec_${Buffer.alloc(65).toString('base64')}`],
    ['in base64url', 'whsec_-_-_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw'],
    ['with a space', 'whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaS '],
    ['with nothing behind the prefix', 'whsec_'],
  ])('refuses one %s', (_what, secret) => {
    expect(isSecret(secret)).toBe(false);
  });
});

describe('messageOf', () => {
  it('is the same text and id on every attempt, and a subject cannot pose as another tenant', () => {
    const alert = {
      alertId: '019aab00-0000-7000-8000-000000000001',
      kind: 'balance.low' as const,
      severity: 'warning' as const,
      tenantId: 'acme',
      occurredAt: new Date('2026-11-22T11:00:00Z'),
      raisedAt: NOW,
      subject: { available_usd: '1.000000000', tenant_id: 'other', severity: 'info' },
    };
    expect(messageOf(alert)).toEqual(messageOf(alert));
    expect(messageOf(alert).id).toBe('alrt_019aab00-0000-7000-8000-000000000001');
    expect(JSON.parse(messageOf(alert).body)).toEqual({
      type: 'balance.low',
      timestamp: '2026-11-22T11:00:00.000Z',
      data: { alert_id: 'alrt_019aab00-0000-7000-8000-000000000001', tenant_id: 'acme', severity: 'warning', available_usd: '1.000000000' },
    });
  });
});
