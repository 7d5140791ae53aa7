import { aReport } from '../testing/reports.js';
import { callKeyDigest, contentHash, eventKeyDigest, figuresHash } from './identity.js';

const key = (over: Partial<Parameters<typeof eventKeyDigest>[0]> = {}) => eventKeyDigest({ sourceId: 'api', boundTenantId: null, externalId: 'e1', ...over });

describe('S1 an event id belongs to its source', () => {
  it('the same id from two sources is two events', () => {
    expect(key({ sourceId: 'eu-proxy' })).not.toBe(key({ sourceId: 'us-proxy' }));
  });

  it("the same id under two tenants' own keys is two events", () => {
    expect(new Set([key(), key({ boundTenantId: 'acme' }), key({ boundTenantId: 'globex' })]).size).toBe(3);
  });

  it('the same call id of two tenants, or of another kind, is another call', () => {
    const call = (tenantId: string, kind: 'call_id' | 'response') => callKeyDigest({ tenantId, kind, value: 'c' });
    expect(new Set([call('acme', 'call_id'), call('globex', 'call_id'), call('acme', 'response')]).size).toBe(3);
  });
});

describe('what counts as the same statement', () => {
  it('a resend that took longer, with other tags, is the same', () => {
    expect(contentHash(aReport({ latencyMs: 1, tags: { a: 'b' } }))).toEqual(contentHash(aReport({ latencyMs: 2, metadata: { retry: true } })));
  });

  it('a pool of zero is the same as a pool that is absent, and the order of meters does not matter', () => {
    const one = aReport({ usage: { input_tokens: 1, output_tokens: 0, meters: { a: 1, b: 2, c: 0 } } });
    const other = aReport({ usage: { input_tokens: 1, meters: { b: 2, a: 1 } } });
    expect(figuresHash(one)).toEqual(figuresHash(other));
  });

  it.each([
    ['usage that is not known', { usage: null }],
    ['one token more', { usage: { input_tokens: 101, output_tokens: 10 } }],
    ['another tenant', { tenantId: 'globex' }],
    ['another model', { model: 'gpt-4o-mini' }],
    ['a claimed cost', { claimedCostNano: 1n }],
  ])('%s is another statement', (_what, over) => {
    expect(contentHash(aReport(over))).not.toEqual(contentHash(aReport()));
  });
});
