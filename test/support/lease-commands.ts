/** Random grants of shared limits, told in order and late, and their lowering: commands as in quota-commands.ts. */
import fc from 'fast-check';
import { leaseKey, type LeaseGrant } from '../../libs/quota/domain/lease.js';
import { COUNTERS, type Command, type CounterKind, type TenantTruth } from './quota-truth.js';

/** What of a claim is leased: of most of them nothing. */
export const LEASES = [
  { block: 100, downgrade: 80, isFinal: false },
  { block: 100, downgrade: 80, isFinal: true },
  { block: null, downgrade: 80, isFinal: true },
  { block: 100, downgrade: null, isFinal: true },
] as const;

const PERCENTS = [80, 100];
/** Few, so that commands meet the same ones. */
const LEASED = COUNTERS.filter(({ counter }) => ['month usd', 'ten minutes usd', 'running'].includes(counter));

const leased = fc.record({
  tenant: fc.nat(1),
  kind: fc.constantFrom(...LEASED),
  percent: fc.constantFrom(...PERCENTS),
  granted: fc.bigInt({ min: 0n, max: 150n }),
  fenced: fc.constantFrom(0n, 0n, 7n),
});

const leaseOf = (tenant: TenantTruth, kind: CounterKind, percent: number, granted: bigint, fenced: bigint): LeaseGrant => {
  tenant.leaseVersion += 2n;
  return {
    lease: leaseKey(kind.counter, percent),
    granted,
    fenced,
    version: tenant.leaseVersion,
    endsAtMs: kind.window.kind === 'fixed' ? kind.window.endsAtMs : null,
  };
};

const grants = (name: string, lateness: fc.Arbitrary<bigint>): fc.Arbitrary<Command> =>
  fc.tuple(leased, lateness).map(([drawn, late]): Command => ({
    name,
    tenant: drawn.tenant,
    prepare: (truth) => {
      const tenant = truth.tenant(drawn.tenant);
      const row = leaseOf(tenant, drawn.kind, drawn.percent, drawn.granted, drawn.fenced);
      if (late === 0n) tenant.leases.set(row.lease, row);
      const { nowMs } = truth;
      return async (store) => await store.grant(tenant.tenantId, [{ ...row, version: row.version - late }], nowMs);
    },
  }));

export const grant = grants('grant', fc.constant(0n));
/** Told after later ones. */
export const lateGrant = grants('late grant', fc.constantFrom(1n, 20n));

export const lower = fc
  .record({
    of: leased,
    atMost: fc.constantFrom(null, null, 3n),
    onlyAt: fc.constantFrom(null, null, 0n, 5n),
    late: fc.constantFrom(0n, 0n, 4n),
    older: fc.constantFrom(0, 0, 1),
  })
  .map(({ of, atMost, onlyAt, late, older }): Command => ({
    name: 'lower lease',
    tenant: of.tenant,
    prepare: (truth) => {
      const tenant = truth.tenant(of.tenant);
      const known = tenant.leases.get(leaseKey(of.kind.counter, of.percent));
      const row = leaseOf(tenant, of.kind, of.percent, known?.granted ?? of.granted, known?.fenced ?? 0n);
      const input = {
        tenantId: tenant.tenantId,
        grant: { ...row, version: row.version - late },
        atMost,
        onlyAt,
        nextVersion: row.version + 1n,
        rulesRevision: tenant.rules - older,
        nowMs: truth.nowMs,
      };
      return async (store) => {
        const result = await store.lowerLease(input);
        if (result.kind === 'looked') tenant.leases.set(row.lease, { ...row, granted: result.granted });
        return result;
      };
    },
  }));
