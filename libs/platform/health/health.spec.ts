import { HealthChecks } from './health.js';

describe('readiness', () => {
  it('is ready when every check is, and passes their notes on', async () => {
    const health = new HealthChecks();
    health.add('database', async () => ({ ok: true, note: 'immutability: triggers only' }));
    expect(await health.run()).toEqual({ ok: true, checks: [{ name: 'database', ok: true, note: 'immutability: triggers only' }] });
  });

  it('names the check that failed, also one that throws, and tells nothing of its error', async () => {
    const health = new HealthChecks();
    health.add('good', async () => ({ ok: true }));
    health.add('bad', async () => await Promise.reject(new Error('password=hunter2')));
    const report = await health.run();
    expect(report.ok).toBe(false);
    expect(report.checks.filter((check) => !check.ok).map((check) => check.name)).toEqual(['bad']);
    expect(JSON.stringify(report)).not.toContain('hunter2');
  });
});
