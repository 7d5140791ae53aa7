/**
 * Readiness is the sum of named checks, each contributed by the part that can judge it. A check that throws or is slow counts as failed:
 * a probe must answer even when what it asks about does not.
 */
export interface HealthReport {
  readonly ok: boolean;
  /** Further facts an operator wants to see, such as "immutability: triggers only". */
  readonly note?: string;
}

export interface HealthCheckResult extends HealthReport {
  readonly name: string;
}

// Shorter than the probe timeouts of common orchestrators with a margin.
const CHECK_TIMEOUT_MS = 2_000;

export class HealthChecks {
  private readonly checks = new Map<string, () => Promise<HealthReport>>();

  /** Registers a check; a second one of the same name replaces the first. */
  add(name: string, check: () => Promise<HealthReport>): void {
    this.checks.set(name, check);
  }

  /** Runs all checks at once, each within two seconds. */
  async run(): Promise<{ ok: boolean; checks: readonly HealthCheckResult[] }> {
    const checks = await Promise.all([...this.checks].map(async ([name, check]) => ({ name, ...(await settled(check)) })));
    return { ok: checks.every((check) => check.ok), checks };
  }
}

async function settled(check: () => Promise<HealthReport>): Promise<HealthReport> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<HealthReport>((resolve) => {
    timer = setTimeout(() => resolve({ ok: false, note: `no answer within ${CHECK_TIMEOUT_MS} ms` }), CHECK_TIMEOUT_MS);
  });
  try {
    return await Promise.race([check(), late]);
  } catch {
    return { ok: false, note: 'the check failed' };
  } finally {
    clearTimeout(timer);
  }
}
