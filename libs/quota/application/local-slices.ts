/**
 * What a process may still allow of a tenant while the shared store is away: a slice of the balance that was taken as a hold and committed before,
 * so that nobody else was promised it (H7), and never more. Taken only where plenty is left, given back when it gets scarce, because a slice
 * that nobody needs would refuse calls that fit. One that was drawn on stays held until it runs out: its calls may still be running.
 */
import { newUuid, type Clock, type Nano } from '#libs/kernel/index.js';
import type { CallFacts, Hold } from '../domain/hold.js';
import { availableOf, type Wallet, type WalletRule } from '../domain/wallet.js';
import type { QuotaService } from './quota-service.js';

interface Slice {
  readonly hold: Hold;
  /** On the monotonic clock, so that a process that was paused does not draw on a slice that ran out. */
  readonly endsAt: number;
  leftNano: Nano;
}

export interface SliceInput {
  readonly tenantId: string;
  readonly rule: WalletRule;
  readonly wallet: Wallet;
  readonly rulesRevision: number;
  /** What the call that was just allowed takes. */
  readonly amountNano: Nano;
  readonly facts: CallFacts;
}

/** A quarter of what is left, for up to eight processes. */
const PARTS = 32n;
/** A slice for fewer calls than this is not worth what it keeps from the others. */
const CALLS_AT_LEAST = 20n;
const CALLS_AT_MOST = 256n;
/** It ends here before it ends in the store. */
const MARGIN_MS = 1_000;

export class LocalSlices {
  private readonly slices = new Map<string, Slice>();
  private readonly taking = new Set<string>();

  constructor(
    private readonly quota: QuotaService,
    private readonly clock: Clock,
    private readonly settings: { readonly holdTtlMs: number },
    private readonly monotonicMs: () => number = () => performance.now(),
  ) {}

  /** Takes, renews or gives back the tenant's slice, whatever its balance calls for now. Never waits, never fails. */
  keep(input: SliceInput): void {
    if (!this.quota.isShared || input.amountNano === 0n || this.taking.has(input.tenantId)) return;
    const slice = this.slices.get(input.tenantId);
    const wantedNano = sliceOf(input);
    const lasts = slice !== undefined && slice.endsAt - this.monotonicMs() > this.settings.holdTtlMs / 2;
    if (wantedNano !== null && lasts && slice.leftNano >= input.amountNano * CALLS_AT_LEAST) return;
    if (wantedNano === null && slice === undefined) return;
    this.taking.add(input.tenantId);
    void this.replace(input, wantedNano)
      .catch(() => undefined)
      .finally(() => this.taking.delete(input.tenantId));
  }

  /** Takes the amount off the slice; false when there is none or not enough left. */
  draw(tenantId: string, amountNano: Nano): boolean {
    const slice = this.slices.get(tenantId);
    if (slice === undefined || this.monotonicMs() >= slice.endsAt || slice.leftNano < amountNano) return false;
    slice.leftNano -= amountNano;
    return true;
  }

  private async replace(input: SliceInput, wantedNano: Nano | null): Promise<void> {
    const old = this.slices.get(input.tenantId);
    this.slices.delete(input.tenantId);
    if (old && old.leftNano === old.hold.amountNano) await this.quota.release(old.hold);
    if (wantedNano === null) return;
    const now = this.clock.now();
    const startedAt = this.monotonicMs();
    const result = await this.quota.reserve({
      tenantId: input.tenantId,
      holdId: newUuid(now),
      kind: 'fence',
      candidates: [{ amountNano: wantedNano, claims: [], facts: input.facts }],
      rulesRevision: input.rulesRevision,
      nowMs: now.getTime(),
      ttlMs: this.settings.holdTtlMs,
      callDigest: null,
      bodyHash: null,
      policy: 'release',
      rule: input.rule,
      enforce: true,
      strict: true,
    });
    if (result.kind === 'held')
      this.slices.set(input.tenantId, { hold: result.hold, endsAt: startedAt + this.settings.holdTtlMs - MARGIN_MS, leftNano: wantedNano });
  }
}

/** Null: too little is left to set anything aside. */
function sliceOf({ wallet, rule, amountNano }: SliceInput): Nano | null {
  const most = amountNano * CALLS_AT_MOST;
  const available = availableOf(wallet, rule);
  if (available === null) return most;
  const part = available / PARTS;
  if (part < amountNano * CALLS_AT_LEAST) return null;
  return part < most ? part : most;
}
