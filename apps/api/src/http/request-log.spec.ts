import { redactUrl, requestIdOf } from './request-log.js';

describe('what a log may show of a request', () => {
  it.each(['/x?key=SECRET', '/x?a=1&key=SECRET', '/x?KEY=SECRET&b=2', '/x;key=SECRET', '/tg_live_SECRET_SECRET', '/x?other=tg_live_abc_SECRET'])(
    'blanks the key in %s',
    (url) => {
      expect(redactUrl(url)).not.toContain('SECRET');
    },
  );

  it('cuts endless paths', () => {
    expect(redactUrl(`/${'x'.repeat(10_000)}`).length).toBeLessThanOrEqual(200);
  });

  it('keeps a printable request id of the sender and replaces any other', () => {
    expect(requestIdOf({ headers: { 'x-request-id': 'trace-7' } })).toBe('trace-7');
    for (const sent of ['', 'a b', 'x'.repeat(129), 'ü']) expect(requestIdOf({ headers: { 'x-request-id': sent } })).toMatch(/^req_[0-9a-f-]{36}$/);
  });
});
