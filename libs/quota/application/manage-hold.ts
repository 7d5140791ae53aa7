import { setTimeout as delay } from 'node:timers/promises';
import { DomainError, newUuid, type Clock } from '#libs/kernel/index.js';
import type { RecordedItem } from '#libs/metering/index.js';
import type { TenantDirectory } from '#libs/tenancy/index.js';
import { attributesOf, type CallFacts, type Hold } from '../domain/hold.js';
import { claimsFor } from '../domain/match-budgets.js';
import { walletRule } from './authorize-call.js';
import type { EstimateCall } from './estimate-call.js';
import type { HoldEvents, SettleFigures } from './hold-events.js';
import type { HoldReader } from './hold-reader.js';
import type { QuotaService } from './quota-service.js';
import type { RuleBook } from './rule-book.js';

/** Holds are written every 100 ms. */
const OTHERS_WRITE_MS = 100;
const OTHERS_WRITE_TRIES = 3;

/** Finds a hold wherever it is: open ones in the store, ended ones in PostgreSQL. */
export class FindHold {
  constructor(
    private readonly quota: QuotaService,
    private readonly reader: HoldReader,
  ) {}

  /**
   * @param tenantId the caller's tenant where its key has one: another tenant's hold does not exist for it
   * @throws DomainError hold.not_found
   */
  async execute(holdId: string, tenantId: string | null): Promise<Hold> {
    const hold = (await this.quota.store.locate(holdId)) ?? this.quota.journal.find(holdId) ?? (await this.fromRows(holdId));
    if (hold === null || (tenantId !== null && hold.tenantId !== tenantId))
      throw new DomainError({ code: 'hold.not_found', kind: 'not_found', publicMessage: 'there is no such hold' });
    return hold;
  }

  private async fromRows(holdId: string): Promise<Hold | null> {
    const row = (await this.reader.find(holdId)) ?? (await this.fromOtherProcess(holdId));
    if (row === null || row.state !== 'active') return row;
    const found = await this.quota.store.locate(holdId, row.tenantId);
    if (found !== null) return found;
    // A live row of a tenant that the store does not know: it has to, before the hold can be changed.
    await this.quota.load(row.tenantId);
    return (await this.quota.store.locate(holdId, row.tenantId)) ?? (await this.reader.find(holdId));
  }

  /** Another process gave it out a moment ago and writes its row within the next tenths of a second. */
  private async fromOtherProcess(holdId: string): Promise<Hold | null> {
    for (let tries = 0; tries < OTHERS_WRITE_TRIES && this.quota.isShared; tries += 1) {
      await delay(OTHERS_WRITE_MS);
      const row = await this.reader.find(holdId);
      if (row !== null) return row;
    }
    return null;
  }
}

/** Records what the call cost. The hold closes when the event is booked, a moment later; until then its money stays held. */
export class SettleHold {
  constructor(
    private readonly find: FindHold,
    private readonly events: HoldEvents,
    private readonly clock: Clock,
  ) {}

  /** @throws DomainError hold.not_found, hold.released (409) */
  async execute(input: {
    holdId: string;
    tenantId: string | null;
    figures: Omit<SettleFigures, 'key'>;
    idempotencyKey: string | null;
  }): Promise<{ hold: Hold; item: RecordedItem }> {
    const hold = await this.find.execute(input.holdId, input.tenantId);
    if (hold.state === 'released')
      throw new DomainError({ code: 'hold.released', kind: 'conflict', publicMessage: 'the hold was released; report the call as a spend event instead' });
    const item = await this.events.settle(hold, { ...input.figures, key: input.idempotencyKey ?? newUuid(this.clock.now()) });
    return { hold, item };
  }
}

/** Gives a hold's money back: the call did not happen. */
export class ReleaseHold {
  constructor(
    private readonly quota: QuotaService,
    private readonly find: FindHold,
  ) {}

  /** Repeating it finds the hold released and changes nothing. @throws DomainError hold.not_found, hold.already_ended (409), quota.fenced */
  async execute(input: { holdId: string; tenantId: string | null }): Promise<Hold> {
    const hold = await this.find.execute(input.holdId, input.tenantId);
    if (hold.state === 'released') return hold;
    const result = await this.quota.release(hold);
    if (result.kind !== 'ended') throw alreadyEnded();
    return result.hold;
  }
}

/** Gives a running call more time, more output, or both. */
export class ExtendHold {
  constructor(
    private readonly quota: QuotaService,
    private readonly find: FindHold,
    private readonly tenants: TenantDirectory,
    private readonly estimate: EstimateCall,
    private readonly rules: RuleBook,
    private readonly clock: Clock,
  ) {}

  /**
   * @param input.ttlMs from now on @param input.outputTokens all the call may answer, not the rise
   * @throws DomainError hold.not_found, hold.already_ended (409), hold.cannot_grow (409) when the rise does not fit the balance or a limit
   */
  async execute(input: { holdId: string; tenantId: string | null; outputTokens: number | null; ttlMs: number | null }): Promise<Hold> {
    const hold = await this.find.execute(input.holdId, input.tenantId);
    const tenant = await this.tenants.find(hold.tenantId);
    if (tenant === null) throw alreadyEnded();
    const now = this.clock.now();
    const amountNano = input.outputTokens === null ? hold.amountNano : await this.amountFor(hold, tenant, input.outputTokens, now);
    const facts = longer(hold, input.outputTokens);
    const enforce = tenant.enforcement === 'enforce';
    const { set } = await this.rules.find(hold.tenantId);
    // The counters of the time it was asked for, whatever period it is now.
    const claims = claimsFor(set.match(attributesOf(hold.tenantId, facts), hold.createdAtMs), {
      amountNano,
      tokens: BigInt(facts.inputTokens + facts.maxOutputTokens),
      critical: false,
      enforce,
    });
    const result = await this.quota.extend({
      tenantId: hold.tenantId,
      holdId: hold.holdId,
      amountNano,
      expiresAtMs: input.ttlMs === null ? hold.expiresAtMs : now.getTime() + input.ttlMs,
      nowMs: now.getTime(),
      facts,
      claims,
      rule: walletRule(tenant),
      enforce,
      strict: tenant.holdDurability === 'strict',
    });
    if (result.kind === 'ended') return result.hold;
    if (result.kind === 'refused') {
      throw new DomainError({ code: 'hold.cannot_grow', kind: 'conflict', publicMessage: `the hold was not raised: ${result.refusal.code}` });
    }
    throw alreadyEnded();
  }

  private async amountFor(hold: Hold, tenant: { tenantId: string; rateCardId: string | null }, outputTokens: number, at: Date): Promise<bigint> {
    const call = {
      provider: hold.facts?.provider ?? null,
      model: hold.facts?.model ?? null,
      feature: hold.facts?.feature ?? null,
      sourceId: '',
      inputTokens: hold.facts?.inputTokens ?? 0,
      maxOutputTokens: outputTokens,
      estimatedCostNano: null,
    };
    const estimated = await this.estimate.execute(call, tenant, at);
    if (!estimated.ok)
      throw new DomainError({ code: 'price.model_unpriced', kind: 'conflict', publicMessage: 'this model has no price, so the hold cannot be raised' });
    return estimated.estimate.costNano;
  }
}

function longer(hold: Hold, outputTokens: number | null): CallFacts {
  if (hold.facts === null) throw alreadyEnded();
  return outputTokens === null ? hold.facts : { ...hold.facts, maxOutputTokens: Math.max(hold.facts.maxOutputTokens, outputTokens) };
}

function alreadyEnded(): DomainError {
  return new DomainError({ code: 'hold.already_ended', kind: 'conflict', publicMessage: 'the hold has ended' });
}
