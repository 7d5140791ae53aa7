/** What the store answered, in the caller's words. */
import { DomainError } from '#libs/kernel/index.js';
import { reasonFor, reasonOf, reasonOfRefusal, type Decision, type LimitLine, type ReasonCode, type Verdict, type WalletLimit } from '../domain/decision.js';
import type { Choice } from '../domain/judge.js';
import type { Claim } from '../domain/limit.js';
import { availableOf, remainingOf, type WalletRule } from '../domain/wallet.js';
import type { Option } from './plan-candidates.js';
import type { LimitView, ReserveResult, WalletView } from './quota-store.js';

export interface Told {
  readonly options: readonly Option[];
  readonly rule: WalletRule;
  readonly enforce: boolean;
}

/** Decided without asking the store. */
export function simple(verdict: Decision['verdict'], code: ReasonCode): Decision {
  return {
    verdict,
    reason: reasonOf(code),
    model: null,
    hold: null,
    estimate: null,
    wallet: null,
    limits: [],
    shadow: false,
    would: null,
    degraded: false,
    replayed: false,
  };
}

/** @throws DomainError quota.call_already_settled, quota.call_conflict (409), quota.store_unavailable */
export function toDecision(result: ReserveResult, told: Told): Decision {
  const [asked] = told.options;
  switch (result.kind) {
    case 'held':
      return held(result, told);
    case 'replayed': {
      const { facts } = result.hold;
      const same = told.options.find((option) => option.candidate.facts.model === facts?.model);
      const moved = same !== undefined && !same.isAsked;
      return {
        ...simple(moved ? 'downgrade' : 'allow', moved ? 'budget_downgrade' : 'ok'),
        model: same === undefined ? (facts?.model ?? null) : same.name,
        hold: result.hold,
        estimate: same === undefined ? null : { ...same.estimate, maxOutputTokens: facts?.maxOutputTokens ?? same.estimate.maxOutputTokens },
        wallet: walletOf(result.wallet, told, false),
        limits: linesOf(result.limits, null),
        shadow: !told.enforce,
        replayed: true,
      };
    }
    case 'refused':
      return {
        ...simple('block', 'ok'),
        reason: reasonOfRefusal(result.refusal, result.limits),
        model: asked?.name ?? null,
        estimate: asked?.estimate ?? null,
        wallet: walletOf(result.wallet, told, result.refusal.claim === null),
        limits: linesOf(result.limits, result.refusal.claim),
      };
    case 'already_resolved':
      throw new DomainError({
        code: 'quota.call_already_settled',
        kind: 'conflict',
        publicMessage: 'the hold of this call_id has ended; a new call needs a new call_id',
      });
    case 'other_body':
      throw new DomainError({ code: 'quota.call_conflict', kind: 'conflict', publicMessage: 'this call_id was authorized with another body' });
    case 'unknown':
    case 'stale_rules':
    case 'short_of_lease':
    case 'above_ceiling':
      throw new DomainError({ code: 'quota.store_unavailable', kind: 'unavailable', publicMessage: 'the quota state cannot be reached', retryAfterMs: 1_000 });
  }
}

function held(result: Extract<ReserveResult, { kind: 'held' }>, told: Told): Decision {
  const option = told.options[result.index];
  const moved = option !== undefined && !option.isAsked;
  const would = result.would === null ? null : verdictOf(result.would, told.options);
  const verdict = moved ? 'downgrade' : 'allow';
  const reason = moved ? reasonFor(result.why === 'ok' ? 'budget_downgrade' : result.why, result.claim) : reasonOf('ok');
  const differs = would !== null && would !== verdict;
  const refusing = result.would?.kind === 'refused' ? result.would.refusal : null;
  return {
    ...simple(verdict, 'ok'),
    reason: differs && refusing !== null ? reasonOfRefusal(refusing, result.limits) : reason,
    model: option?.name ?? null,
    hold: result.hold,
    estimate: option?.estimate ?? null,
    wallet: walletOf(result.wallet, told, refusing !== null && refusing.claim === null),
    limits: linesOf(result.limits, refusing?.claim ?? result.claim),
    shadow: !told.enforce,
    would: differs ? would : null,
  };
}

function verdictOf(choice: Choice, options: readonly Option[]): Verdict {
  if (choice.kind === 'refused') return 'block';
  return options[choice.index]?.isAsked === false ? 'downgrade' : 'allow';
}

function linesOf(views: readonly LimitView[], binding: Claim | null): LimitLine[] {
  return views.map(({ claim, used, held: kept }) => ({ claim, used, held: kept, binding: binding !== null && binding.counter === claim.counter }));
}

function walletOf(wallet: WalletView, { rule, enforce }: Told, binding: boolean): WalletLimit {
  return {
    limitNano: remainingOf(wallet, rule),
    usedNano: wallet.postedNano < 0n ? -wallet.postedNano : 0n,
    heldNano: wallet.heldNano,
    remainingNano: availableOf(wallet, rule),
    enforced: enforce,
    binding,
  };
}
