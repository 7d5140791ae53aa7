/**
 * Decides what a model costs from an instant on. A price that would change what applies now counts from now unless it says otherwise;
 * a first price counts from the beginning, so that it also prices the events that wait for one. Nothing already posted moves.
 */
import { DomainError, formatPrice, type Clock, type FemtoPrice, type FieldProblem } from '../../kernel/index.js';
import type { AuditLog, ChangeContext } from '../../platform/audit/audit-log.js';
import type { Database } from '../../platform/postgres/database.js';
import { jumps, readPrices } from '../domain/price-bounds.js';
import { ALWAYS, ANY, type OverrideRevision } from '../domain/price-override.js';
import { priceOf, type PriceTable } from '../domain/price-table.js';
import { providerKey } from '../domain/provider-names.js';
import { meterName, type Component } from '../domain/usage.js';
import { describeOverride, describePrices } from './describe-prices.js';
import type { PriceStore } from './ports.js';
import type { PriceBook } from './price-book.js';

export interface PutPriceOverrideInput {
  readonly overrideId: string;
  readonly provider: string;
  readonly model: string;
  /** Decimal USD per unit by component. */
  readonly prices: Readonly<Record<string, string>>;
  readonly effectiveFrom: Date | null;
  readonly effectiveTo: Date | null;
  readonly reason: string | null;
  readonly acceptJump: boolean;
  readonly context: ChangeContext;
}

export class PutPriceOverride {
  constructor(
    private readonly database: Database,
    private readonly store: PriceStore,
    private readonly book: PriceBook,
    private readonly audit: AuditLog,
    private readonly clock: Clock,
  ) {}

  /**
   * Writes the next revision; the same decision again writes nothing.
   * @throws DomainError price.invalid, price.jump, price_override.other_model
   */
  async execute(input: PutPriceOverrideInput): Promise<OverrideRevision> {
    const prices = readDecision(input);
    await this.book.refresh();
    const override = await this.database.transaction(async (tx) => {
      await this.store.lock(tx);
      const before = (await this.store.overrideRevisions(tx, input.overrideId)).at(-1);
      if (before !== undefined && isSame(before, input, prices)) return before;
      if (before !== undefined && (before.provider !== input.provider || before.model !== input.model)) throw otherModel();
      const after = this.nextRevision(input, prices, before);
      await this.store.insertOverride(tx, after);
      await this.audit.append(tx, {
        at: after.createdAt,
        actor: input.context.actor,
        action: before === undefined ? 'price_override.created' : 'price_override.updated',
        entity: 'price_override',
        entityId: input.overrideId,
        tenantId: null,
        before: before === undefined ? null : describeOverride(before),
        after: describeOverride(after),
        reason: input.reason,
        requestId: input.context.requestId,
      });
      return after;
    });
    await this.book.refresh();
    return override;
  }

  private nextRevision(input: PutPriceOverrideInput, prices: ReadonlyMap<Component, FemtoPrice>, before: OverrideRevision | undefined): OverrideRevision {
    const now = this.clock.now();
    const current = this.book.find(providerKey(input.provider), input.model)?.at(now).prices ?? new Map();
    if (!input.acceptJump) refuseJumps(prices, current);
    const effectiveFrom = input.effectiveFrom ?? (changesPrices(prices, current) || before !== undefined ? now : ALWAYS);
    if (input.effectiveTo !== null && input.effectiveTo <= effectiveFrom)
      throw invalid([{ path: 'effective_to', message: 'must be later than effective_from' }]);
    const { overrideId, provider, model, effectiveTo } = input;
    return { overrideId, revision: (before?.revision ?? 0) + 1, provider, model, prices, effectiveFrom, effectiveTo, createdAt: now };
  }
}

function readDecision(input: PutPriceOverrideInput): ReadonlyMap<Component, FemtoPrice> {
  const { prices, problems } = readPrices(input.prices, 'prices');
  if ((input.provider === ANY) !== (input.model === ANY))
    problems.push({ path: 'model', message: '"*" stands for every model of every provider: provider and model are both "*" or neither' });
  else if (input.model === ANY && [...prices.keys()].some((component) => meterName(component) === null))
    problems.push({ path: 'prices', message: 'only meters can have one price for every model' });
  if (problems.length > 0) throw invalid(problems);
  return prices;
}

function isSame(before: OverrideRevision, input: PutPriceOverrideInput, prices: ReadonlyMap<Component, FemtoPrice>): boolean {
  return (
    before.provider === input.provider &&
    before.model === input.model &&
    (input.effectiveFrom === null || before.effectiveFrom.getTime() === input.effectiveFrom.getTime()) &&
    before.effectiveTo?.getTime() === input.effectiveTo?.getTime() &&
    samePrices(before.prices, prices)
  );
}

function samePrices(a: ReadonlyMap<Component, FemtoPrice>, b: ReadonlyMap<Component, FemtoPrice>): boolean {
  const [first, second] = [a, b].map((prices) => JSON.stringify(Object.entries(describePrices(prices)).sort(([x], [y]) => (x < y ? -1 : 1))));
  return first === second;
}

function changesPrices(prices: ReadonlyMap<Component, FemtoPrice>, current: PriceTable): boolean {
  return [...prices.keys()].some((component) => priceOf(current, component) !== undefined);
}

function refuseJumps(prices: ReadonlyMap<Component, FemtoPrice>, current: PriceTable): void {
  const errors = jumps(prices, current).map(({ component, from, to }) => ({
    path: `prices.${component}`,
    message: `${formatPrice(to)} is more than twenty times away from the ${formatPrice(from)} USD that apply now; send accept_jump to mean it`,
  }));
  if (errors.length > 0) throw new DomainError({ code: 'price.jump', kind: 'invalid', publicMessage: 'a price is far from the one that applies now', errors });
}

function invalid(errors: readonly FieldProblem[]): DomainError {
  return new DomainError({ code: 'price.invalid', kind: 'invalid', publicMessage: 'the prices do not fit', errors });
}

function otherModel(): DomainError {
  return new DomainError({
    code: 'price_override.other_model',
    kind: 'conflict',
    publicMessage:
      'this override prices another model; its history explains what was billed, so make an override with another id and end this one with effective_to',
  });
}
