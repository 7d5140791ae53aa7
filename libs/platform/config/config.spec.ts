import { OUTGOING_ALLOW_RULE } from '../http/outgoing-allow.js';
import { ConfigError, loadConfig, requireSharedServices, redisTarget } from './config.js';

function problemsOf(environment: Record<string, string>): readonly string[] {
  try {
    loadConfig(environment);
  } catch (error) {
    if (error instanceof ConfigError) return error.problems;
    throw error;
  }
  return [];
}

describe('loadConfig', () => {
  it('needs nothing: an empty environment is a single process on 127.0.0.1:8080', () => {
    expect(loadConfig({})).toEqual({
      port: 8080,
      host: '127.0.0.1',
      workerPort: 8081,
      dataDir: './data',
      databaseUrl: null,
      databaseMigrationUrl: null,
      redisUrl: null,
      adminKey: null,
      eventMaxAgeDays: 35,
      absurdCostNano: 1_000_000_000_000n,
      newTenantsPerHour: 1_000,
      databasePoolSize: 10,
      holdTtlMs: 900_000,
      onMissingTenant: 'allow',
      onUnpriced: 'block',
      storeDeadlineMs: 2_000,
      outgoingAllow: [],
      redisDeadlineMs: 250,
      loopGuard: 'shadow',
      loopGuardCalls: 500,
      loopGuardNano: 25_000_000_000n,
      logLevel: 'info',
    });
  });

  it.each([
    ['redis://a:1', ['redis://a:1'], false],
    ['redis://a:1?cluster=true', ['redis://a:1?cluster=true'], true],
    ['redis://a:1,redis://b:2', ['redis://a:1', 'redis://b:2'], true],
  ])('reads %s as one server or as a cluster', (redisUrl, urls, cluster) => {
    expect(redisTarget(redisUrl)).toEqual({ urls, cluster });
  });

  it('takes an empty value for an absent one', () => {
    expect(loadConfig({ PORT: '', REDIS_URL: '', TOLLGATE_ADMIN_KEY: '' })).toEqual(loadConfig({}));
  });

  it.each([
    ['PORT', '80a', 'PORT takes an integer from 0 to 65535'],
    ['PORT', '65536', 'PORT takes an integer from 0 to 65535'],
    ['PORT', '-1', 'PORT takes an integer from 0 to 65535'],
    ['HOST', 'a b', 'HOST takes a host name or address'],
    ['DATABASE_URL', 'mysql://x/y', 'DATABASE_URL takes a URL such as postgresql://user:password@host:5432/tollgate'],
    ['DATABASE_MIGRATION_URL', 'localhost', 'DATABASE_MIGRATION_URL takes a URL such as postgresql://owner:password@host:5432/tollgate'],
    ['REDIS_URL', 'http://x', 'REDIS_URL takes a URL such as redis://:password@host:6379/0, or several of a cluster with commas between them'],
    ['TOLLGATE_ADMIN_KEY', 'short', 'TOLLGATE_ADMIN_KEY takes at least 24 characters'],
    ['TOLLGATE_EVENT_MAX_AGE_DAYS', '0', 'TOLLGATE_EVENT_MAX_AGE_DAYS takes an integer from 1 to 3650'],
    ['TOLLGATE_ABSURD_COST_USD', '1e3', 'TOLLGATE_ABSURD_COST_USD takes a positive decimal amount in USD with at most 9 decimals, such as 1000'],
    ['TOLLGATE_ABSURD_COST_USD', '0', 'TOLLGATE_ABSURD_COST_USD takes a positive decimal amount in USD with at most 9 decimals, such as 1000'],
    ['TOLLGATE_OUTGOING_ALLOW', '10.0.0.0/99', `TOLLGATE_OUTGOING_ALLOW ${OUTGOING_ALLOW_RULE}`],
    ['LOG_LEVEL', 'loud', 'LOG_LEVEL takes one of fatal, error, warn, info, debug, trace, silent'],
  ])('names %s=%s and what it takes', (name, value, message) => {
    expect(problemsOf({ [name]: value })).toEqual([message]);
  });

  it('names every wrong variable at once and repeats no value', () => {
    const problems = problemsOf({ PORT: 'hunter2', DATABASE_URL: 'mysql://me:hunter2@host/db' });
    expect(problems).toHaveLength(2);
    expect(problems.join()).not.toContain('hunter2');
  });
});

describe('requireSharedServices', () => {
  it('says which variable is missing and what to run instead', () => {
    const config = loadConfig({ DATABASE_URL: 'postgresql://a@b/c' });
    expect(() => requireSharedServices(config, 'npm run start:api')).toThrow(/REDIS_URL is needed by `npm run start:api`.*`npm start` instead/);
    expect(() => requireSharedServices(config, 'npm run start:api')).not.toThrow(/DATABASE_URL/);
  });
});
