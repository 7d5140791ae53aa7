/**
 * When a balance is worth an alert: below a fifth of the credit of the last 30 days, and again at nothing. Told once per refill: the key
 * is the newest lot of credit, so a tenant that hovers around the line is told once, and a refilled one is told again.
 */
import { formatUsd, toWireId, type Nano } from '#libs/kernel/index.js';
import type { NewAlert } from './alert.js';

/** A fifth of the credit is left. */
const LOW_DIVISOR = 5n;

/** A tenant's recent credit. */
export interface RecentCredit {
  /** Granted in the last 30 days, or the newest lot where that is older. */
  readonly grantedNano: Nano;
  readonly newestLotId: string | null;
}

export interface LevelChange {
  readonly tenantId: string;
  /** What could be spent before and after the booking, credit limit included. Before is null where it is not known. */
  readonly beforeNano: Nano | null;
  readonly afterNano: Nano;
  readonly credit: RecentCredit;
  readonly at: Date;
}

/** The graver of the two lines that were crossed downwards, or null. With nothing known before, whoever is below a line has crossed it. */
export function balanceAlert(change: LevelChange): NewAlert | null {
  const lowNano = change.credit.grantedNano / LOW_DIVISOR;
  if (crossed(change, 1n)) return alertOf(change, 'balance.exhausted', lowNano);
  // Without recent credit there is no fifth of it.
  if (lowNano > 0n && crossed(change, lowNano)) return alertOf(change, 'balance.low', lowNano);
  return null;
}

/** The line is crossed by falling below it: exhausted is below one nano-dollar. */
function crossed({ beforeNano, afterNano }: LevelChange, line: Nano): boolean {
  return afterNano < line && (beforeNano === null || beforeNano >= line);
}

function alertOf(change: LevelChange, kind: 'balance.low' | 'balance.exhausted', lowNano: Nano): NewAlert {
  const { newestLotId } = change.credit;
  return {
    kind,
    tenantId: change.tenantId,
    dedupKey: newestLotId ?? 'no credit',
    occurredAt: change.at,
    severity: kind === 'balance.exhausted' ? 'critical' : 'warning',
    subject: {
      available_usd: formatUsd(change.afterNano),
      low_below_usd: formatUsd(lowNano),
      newest_lot_id: newestLotId === null ? null : toWireId('lot', newestLotId),
    },
  };
}
