/** Learned output sizes, read on demand and kept for a minute: a learned figure changes over hours, the hot path asks every millisecond. */
import { MINUTE_MS, type Clock } from '#libs/kernel/index.js';
import { learnedOutput } from '../domain/output-sizes.js';

/** Calls by bucket for one (tenant, feature, model). */
export type ReadOutputSizes = (tenantId: string, feature: string, model: string) => Promise<ReadonlyMap<number, bigint>>;

const MAX_KEPT = 50_000;

export class OutputSizes {
  private readonly kept = new Map<string, { tokens: number | null; until: number }>();

  constructor(
    private readonly read: ReadOutputSizes,
    private readonly clock: Clock,
  ) {}

  /** The p99 output in tokens, or null while nothing is learned or it cannot be read: the default is then the safe answer. */
  async learned(tenantId: string, feature: string | null, model: string | null): Promise<number | null> {
    if (model === null) return null;
    const key = JSON.stringify([tenantId, feature, model]);
    const now = this.clock.now().getTime();
    const known = this.kept.get(key);
    if (known && known.until > now) return known.tokens;
    const tokens = await this.read(tenantId, feature ?? '', model).then(learnedOutput, () => null);
    if (this.kept.size >= MAX_KEPT) this.kept.clear();
    this.kept.set(key, { tokens, until: now + MINUTE_MS });
    return tokens;
  }
}
