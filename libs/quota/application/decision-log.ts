/**
 * The log of decisions: every block and every "would have", a sample of allows, with the numbers compared. Written behind in batches;
 * the buffer is bounded and what does not fit is counted, never waited for.
 */
import { formatUsd, newUuid, type Nano } from '#libs/kernel/index.js';
import type { Decision } from '../domain/decision.js';
import type { AuthorizeInput } from './authorize-input.js';

export interface LoggedDecision {
  readonly decisionId: string;
  readonly at: Date;
  readonly tenantId: string;
  readonly callId: string | null;
  readonly decision: Decision['verdict'];
  readonly would: Decision['would'];
  readonly reason: string;
  readonly holdId: string | null;
  readonly numbers: Readonly<Record<string, unknown>>;
}

export type WriteDecisions = (decisions: readonly LoggedDecision[]) => Promise<void>;

const MAX_BUFFERED = 20_000;
const BATCH = 1_000;
/** One plain allow in a hundred is kept. */
const ALLOW_SAMPLE = 100;

export class DecisionLog {
  private buffer: LoggedDecision[] = [];
  private allows = 0;
  /** Decisions that found the buffer full or whose batch could not be written. */
  lost = 0;

  constructor(private readonly write: WriteDecisions) {}

  note(input: AuthorizeInput, decision: Decision, at: Date): void {
    const plain = decision.verdict === 'allow' && decision.would === null && !decision.degraded;
    if (plain) {
      this.allows += 1;
      if (this.allows % ALLOW_SAMPLE !== 1) return;
    }
    if (this.buffer.length >= MAX_BUFFERED) {
      this.lost += 1;
      return;
    }
    this.buffer.push({
      decisionId: newUuid(at),
      at,
      tenantId: input.tenantId ?? 'unknown',
      callId: input.callId,
      decision: decision.verdict,
      would: decision.would,
      reason: decision.reason.code,
      holdId: decision.hold?.holdId ?? null,
      numbers: numbersOf(input, decision),
    });
  }

  /** Writes what is buffered; a batch that fails is counted as lost. */
  async flush(): Promise<void> {
    const batch = this.buffer;
    if (batch.length === 0) return;
    this.buffer = [];
    for (let start = 0; start < batch.length; start += BATCH) {
      try {
        await this.write(batch.slice(start, start + BATCH));
      } catch (error) {
        this.lost += batch.length - start;
        throw error;
      }
    }
  }
}

function numbersOf(input: AuthorizeInput, { estimate, wallet, limits, reason, degraded, shadow }: Decision): Record<string, unknown> {
  return {
    model: input.model,
    feature: input.feature,
    user_id: input.userId,
    estimate_usd: estimate === null ? null : formatUsd(estimate.costNano),
    estimate_basis: estimate?.basis ?? null,
    limit_usd: usdOrNull(wallet?.limitNano ?? null),
    held_usd: wallet === null ? null : formatUsd(wallet.heldNano),
    remaining_usd: usdOrNull(wallet?.remainingNano ?? null),
    budget_id: reason.budgetId,
    limits: limits.map(({ claim, used, held, binding }) => ({
      id: claim.budgetId,
      metric: claim.metric,
      limit: String(claim.limit),
      asked: String(claim.amount),
      used: String(used),
      held: String(held),
      binding,
    })),
    shadow,
    degraded,
  };
}

function usdOrNull(nano: Nano | null): string | null {
  return nano === null ? null : formatUsd(nano);
}
