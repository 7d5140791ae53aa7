import fc from 'fast-check';
import type { OutgoingOutcome } from '#libs/platform/http/outgoing.js';
import { judgeAttempt, MAX_ATTEMPTS, pauseAfter, retryAfterMs } from './attempt.js';

const NOW = new Date('2026-11-22T12:00:00Z');
const DAY_MS = 86_400_000;
const answered = (status: number, more: Partial<Extract<OutgoingOutcome, { kind: 'answered' }>> = {}): OutgoingOutcome => ({
  kind: 'answered',
  status,
  retryAfter: null,
  body: '',
  ...more,
});

describe('judgeAttempt', () => {
  it.each([200, 201, 202, 204, 299])('%d is delivered', (status) => {
    expect(judgeAttempt(answered(status), 1, NOW, 0.5)).toEqual({ verdict: { kind: 'delivered' }, status, error: null, excerpt: null });
  });

  it.each([100, 199, 300, 301, 307, 400, 401, 404, 429, 500, 503])('%d is tried again', (status) => {
    expect(judgeAttempt(answered(status), 1, NOW, 0.5)).toMatchObject({ verdict: { kind: 'retry' }, status, error: `http_${status}` });
  });

  it('410 ends it and says so, also on the first attempt', () => {
    expect(judgeAttempt(answered(410), 1, NOW, 0.5).verdict).toEqual({ kind: 'gone' });
  });

  it('a timeout, a refused address and a closed port are tried again and named', () => {
    const outcomes: OutgoingOutcome[] = [
      { kind: 'failed', reason: 'timeout' },
      { kind: 'refused', reason: 'address_not_allowed' },
      { kind: 'failed', reason: 'ECONNREFUSED' },
    ];
    expect(outcomes.map((outcome) => judgeAttempt(outcome, 1, NOW, 0.5))).toEqual(
      outcomes.map((outcome) => ({
        verdict: { kind: 'retry', at: expect.any(Date) },
        status: null,
        error: (outcome as { reason: string }).reason,
        excerpt: null,
      })),
    );
  });

  it('the tenth attempt is the last', () => {
    expect(judgeAttempt(answered(500), MAX_ATTEMPTS - 1, NOW, 0.5).verdict.kind).toBe('retry');
    expect(judgeAttempt(answered(500), MAX_ATTEMPTS, NOW, 0.5).verdict.kind).toBe('failed');
    expect(MAX_ATTEMPTS).toBe(10);
  });

  it('keeps at most 256 printable characters of an answer', () => {
    const { excerpt } = judgeAttempt(answered(500, { body: `a\u0000b\n${'x'.repeat(1_000)}` }), 1, NOW, 0.5);
    expect(excerpt).toBe(`a b ${'x'.repeat(252)}`);
  });
});

describe('pauses', () => {
  it('are drawn from zero to a bound that grows threefold, and all nine together come to about a day', () => {
    expect([1, 2, 3, 4].map((attempt) => pauseAfter(attempt, 0.5))).toEqual([10_000, 30_000, 90_000, 270_000]);
    const meanMs = Array.from({ length: MAX_ATTEMPTS - 1 }, (_, index) => pauseAfter(index + 1, 0.5)).reduce((sum, pause) => sum + pause, 0);
    expect(meanMs / DAY_MS).toBeGreaterThan(0.75);
    expect(meanMs / DAY_MS).toBeLessThan(1.25);
  });

  it('are never below a second nor above a day', () => {
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 1_000 }), fc.double({ min: 0, max: 1, maxExcluded: true, noNaN: true }), (attempt, chance) => {
        const pause = pauseAfter(attempt, chance);
        expect(pause).toBeGreaterThanOrEqual(1_000);
        expect(pause).toBeLessThanOrEqual(DAY_MS);
      }),
    );
  });

  it('Retry-After is honoured where it asks for more, in seconds and as a date', () => {
    const at = (retryAfter: string): unknown => judgeAttempt(answered(503, { retryAfter }), 1, NOW, 0.5).verdict;
    expect(at('120')).toEqual({ kind: 'retry', at: new Date(NOW.getTime() + 120_000) });
    expect(at('Sun, 22 Nov 2026 12:10:00 GMT')).toEqual({ kind: 'retry', at: new Date('2026-11-22T12:10:00Z') });
    expect(at('1')).toEqual({ kind: 'retry', at: new Date(NOW.getTime() + 10_000) });
  });

  it.each([
    ['', 0],
    ['soon', 0],
    ['-5', 0],
    ['Sat, 21 Nov 2026 12:00:00 GMT', 0],
    ['999999999', DAY_MS],
    ['Tue, 22 Nov 2033 12:00:00 GMT', DAY_MS],
  ])('Retry-After %j is %d ms', (header, ms) => {
    expect(retryAfterMs(header, NOW)).toBe(ms);
  });
});
