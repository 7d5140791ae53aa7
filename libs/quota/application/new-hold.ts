import type { Hold } from '../domain/hold.js';
import type { Claim, HeldClaim } from '../domain/limit.js';
import type { Candidate, ReserveCommand } from './quota-store.js';

/** The hold that a reserve makes for the candidate it takes. */
export function newHold(command: ReserveCommand, candidate: Candidate): Hold {
  return {
    holdId: command.holdId,
    tenantId: command.tenantId,
    kind: command.kind ?? 'call',
    state: 'active',
    resolution: null,
    amountNano: candidate.amountNano,
    capturedNano: 0n,
    capturedTokens: 0n,
    capturedRequests: 0n,
    claims: candidate.claims.map(toHeld),
    callDigest: command.callDigest,
    bodyHash: command.bodyHash,
    policy: command.policy,
    createdAtMs: command.nowMs,
    expiresAtMs: command.nowMs + command.ttlMs,
    resolvedAtMs: null,
    facts: candidate.facts,
  };
}

function toHeld({ counter, metric, window, amount }: Claim): HeldClaim {
  return { counter, metric, window, amount };
}
