/**
 * The only reader of the environment. Guarantees: the program starts with values of the right type and range or not at all; the
 * message names every wrong variable and what it takes, and never repeats a value (it may be a password). An empty value counts as
 * absent, because compose files pass one for a variable that is not set.
 */
import { z } from 'zod';
import { parseUsd, tryParseUsd, type Nano } from '../../kernel/index.js';
import { OUTGOING_ALLOW_RULE, parseOutgoingAllow, type OutgoingAllowance } from '../http/outgoing-allow.js';
import { LOG_LEVELS, type LogLevel } from '../logging/logger.js';

export interface Config {
  readonly port: number;
  readonly host: string;
  /** Where a worker that runs alone answers /health/live and /health/ready, on `host`. */
  readonly workerPort: number;
  /** Where `npm start` keeps its database and admin key. Relative to the working directory. */
  readonly dataDir: string;
  /** Null: `npm start` runs the embedded PostgreSQL. */
  readonly databaseUrl: string | null;
  /** Login that may change the schema; null: `databaseUrl` does it. */
  readonly databaseMigrationUrl: string | null;
  /** Null: one process, queue on PostgreSQL. Several nodes of a cluster with commas between them, or one with `?cluster=true`. */
  readonly redisUrl: string | null;
  /** Null: `npm start` makes one and writes it to `admin.key`. */
  readonly adminKey: string | null;
  /** Events that occurred longer ago are rejected. */
  readonly eventMaxAgeDays: number;
  /** A single event above this is quarantined as `absurd_cost`. */
  readonly absurdCostNano: Nano;
  /** Tenants that events may create an hour; more are booked under `unknown`. */
  readonly newTenantsPerHour: number;
  /** Connections to PostgreSQL this process opens for requests and posting. */
  readonly databasePoolSize: number;
  /** How long a hold lives without news of its call. */
  readonly holdTtlMs: number;
  /** What authorize answers where no tenant is named. */
  readonly onMissingTenant: 'allow' | 'block';
  /** What authorize answers an enforcing tenant about a model without a price; an amount is held for the call. */
  readonly onUnpriced: 'block' | 'allow' | Nano;
  /** After this, a decision that waits for PostgreSQL goes by its tenant's `on_store_failure`. */
  readonly storeDeadlineMs: number;
  /** Where outgoing webhooks may go besides public addresses over https. */
  readonly outgoingAllow: readonly OutgoingAllowance[];
  /** After this, a decision that waits for Redis goes by its tenant's `on_store_failure`. */
  readonly redisDeadlineMs: number;
  /** What happens beyond the next two, for one thread_id within an hour. */
  readonly loopGuard: 'shadow' | 'enforce' | 'off';
  readonly loopGuardCalls: number;
  readonly loopGuardNano: Nano;
  readonly logLevel: LogLevel;
}

/** What is wrong with the environment, one line per variable. */
export class ConfigError extends Error {
  constructor(readonly problems: readonly string[]) {
    super(`the environment is not usable:\n${problems.map((problem) => `  ${problem}`).join('\n')}`);
    this.name = 'ConfigError';
  }
}

/** An admin key is a password for everything: shorter ones can be guessed. */
const MIN_ADMIN_KEY_LENGTH = 24;

const text = (takes: string): z.ZodString => z.string({ error: takes });

function integer(fallback: number, min: number, max: number): z.ZodType<number> {
  const takes = `takes an integer from ${min} to ${max}`;
  return z
    .string()
    .regex(/^\d{1,9}$/, takes)
    .transform(Number)
    .refine((value) => value >= min && value <= max, takes)
    .default(fallback);
}

function url(protocols: readonly string[], example: string): z.ZodType<string | null> {
  const takes = `takes a URL such as ${example}`;
  return text(takes)
    .refine((value) => URL.canParse(value) && protocols.includes(new URL(value).protocol), takes)
    .nullable()
    .default(null);
}

function isPositiveUsd(value: string): boolean {
  const parsed = tryParseUsd(value);
  return parsed.ok && parsed.nano > 0n;
}

const UNPRICED_TAKES = 'takes block, allow, or the decimal amount in USD to hold for such a call';
const REDIS = ['redis:', 'rediss:'];
const REDIS_TAKES = 'takes a URL such as redis://:password@host:6379/0, or several of a cluster with commas between them';
const POSTGRES = ['postgres:', 'postgresql:'];

const environmentSchema = z.object({
  PORT: integer(8080, 0, 65_535),
  HOST: text('takes a host name or address')
    .regex(/^[a-zA-Z0-9.:-]{1,253}$/, 'takes a host name or address')
    .default('127.0.0.1'),
  TOLLGATE_WORKER_PORT: integer(8081, 0, 65_535),
  TOLLGATE_DATA_DIR: text('takes a folder').default('./data'),
  DATABASE_URL: url(POSTGRES, 'postgresql://user:password@host:5432/tollgate'),
  DATABASE_MIGRATION_URL: url(POSTGRES, 'postgresql://owner:password@host:5432/tollgate'),
  REDIS_URL: text(REDIS_TAKES)
    .refine((value) => value.split(',').every((one) => URL.canParse(one) && REDIS.includes(new URL(one).protocol)), REDIS_TAKES)
    .nullable()
    .default(null),
  TOLLGATE_ADMIN_KEY: text('takes text')
    .regex(/^[\x21-\x7e]+$/, 'takes printable ASCII without spaces')
    .min(MIN_ADMIN_KEY_LENGTH, `takes at least ${MIN_ADMIN_KEY_LENGTH} characters`)
    .nullable()
    .default(null),
  TOLLGATE_EVENT_MAX_AGE_DAYS: integer(35, 1, 3_650),
  TOLLGATE_ABSURD_COST_USD: text('takes a decimal amount in USD')
    .refine(isPositiveUsd, 'takes a positive decimal amount in USD with at most 9 decimals, such as 1000')
    .default('1000'),
  TOLLGATE_NEW_TENANTS_PER_HOUR: integer(1_000, 0, 1_000_000),
  TOLLGATE_DATABASE_POOL_SIZE: integer(10, 2, 500),
  TOLLGATE_HOLD_TTL_SECONDS: integer(900, 1, 86_400),
  TOLLGATE_ON_MISSING_TENANT: z.enum(['allow', 'block'], { error: 'takes allow or block' }).default('allow'),
  TOLLGATE_UNPRICED: text(UNPRICED_TAKES)
    .refine((value) => value === 'block' || value === 'allow' || isPositiveUsd(value), UNPRICED_TAKES)
    .default('block'),
  TOLLGATE_STORE_DEADLINE_MS: integer(2_000, 10, 60_000),
  TOLLGATE_OUTGOING_ALLOW: text(OUTGOING_ALLOW_RULE)
    .refine((value) => parseOutgoingAllow(value) !== null, OUTGOING_ALLOW_RULE)
    .default(''),
  TOLLGATE_REDIS_DEADLINE_MS: integer(250, 5, 60_000),
  TOLLGATE_LOOP_GUARD: z.enum(['shadow', 'enforce', 'off'], { error: 'takes shadow, enforce or off' }).default('shadow'),
  TOLLGATE_LOOP_GUARD_CALLS: integer(500, 1, 1_000_000),
  TOLLGATE_LOOP_GUARD_USD: text('takes a decimal amount in USD').refine(isPositiveUsd, 'takes a positive decimal amount in USD, such as 25').default('25'),
  LOG_LEVEL: z.enum(LOG_LEVELS, { error: `takes one of ${LOG_LEVELS.join(', ')}` }).default('info'),
});

/** Reads and checks the environment. @throws ConfigError */
export function loadConfig(environment: Readonly<Record<string, string | undefined>> = process.env): Config {
  const given = Object.fromEntries(Object.entries(environment).filter(([, value]) => value !== undefined && value !== ''));
  const parsed = environmentSchema.safeParse(given);
  if (!parsed.success) throw new ConfigError(parsed.error.issues.map((issue) => `${issue.path.join('.')} ${issue.message}`));
  const env = parsed.data;
  return {
    port: env.PORT,
    host: env.HOST,
    workerPort: env.TOLLGATE_WORKER_PORT,
    dataDir: env.TOLLGATE_DATA_DIR,
    databaseUrl: env.DATABASE_URL,
    databaseMigrationUrl: env.DATABASE_MIGRATION_URL,
    redisUrl: env.REDIS_URL,
    adminKey: env.TOLLGATE_ADMIN_KEY,
    eventMaxAgeDays: env.TOLLGATE_EVENT_MAX_AGE_DAYS,
    absurdCostNano: parseUsd(env.TOLLGATE_ABSURD_COST_USD),
    newTenantsPerHour: env.TOLLGATE_NEW_TENANTS_PER_HOUR,
    databasePoolSize: env.TOLLGATE_DATABASE_POOL_SIZE,
    holdTtlMs: env.TOLLGATE_HOLD_TTL_SECONDS * 1_000,
    onMissingTenant: env.TOLLGATE_ON_MISSING_TENANT,
    onUnpriced: env.TOLLGATE_UNPRICED === 'block' || env.TOLLGATE_UNPRICED === 'allow' ? env.TOLLGATE_UNPRICED : parseUsd(env.TOLLGATE_UNPRICED),
    storeDeadlineMs: env.TOLLGATE_STORE_DEADLINE_MS,
    outgoingAllow: parseOutgoingAllow(env.TOLLGATE_OUTGOING_ALLOW) ?? [],
    redisDeadlineMs: env.TOLLGATE_REDIS_DEADLINE_MS,
    loopGuard: env.TOLLGATE_LOOP_GUARD,
    loopGuardCalls: env.TOLLGATE_LOOP_GUARD_CALLS,
    loopGuardNano: parseUsd(env.TOLLGATE_LOOP_GUARD_USD),
    logLevel: env.LOG_LEVEL,
  };
}

/** Where Redis is: one server, or a cluster where several are named or `?cluster=true` says so. */
export function redisTarget(redisUrl: string): { readonly urls: readonly string[]; readonly cluster: boolean } {
  const urls = redisUrl.split(',');
  return { urls, cluster: urls.length > 1 || urls.some((one) => new URL(one).searchParams.get('cluster') === 'true') };
}

/** The variables of the scaled-out shape. @throws ConfigError naming those that are missing and why they are needed */
export function requireSharedServices(config: Config, command: string): { databaseUrl: string; redisUrl: string } {
  const { databaseUrl, redisUrl } = config;
  if (databaseUrl !== null && redisUrl !== null) return { databaseUrl, redisUrl };
  const because = `is needed by \`${command}\`, where several processes share it; for a single process run \`npm start\` instead`;
  const missing = [databaseUrl === null ? 'DATABASE_URL' : '', redisUrl === null ? 'REDIS_URL' : ''].filter((name) => name !== '');
  throw new ConfigError(missing.map((name) => `${name} ${because}`));
}
